"""`service.py CASE`: what a Python service may be limited by."""

import queue
import signal
import sqlite3
import sys
import threading
import time

signal.alarm(180)


def compute():
    """Each thread always has work, and one at a time may do it."""

    def work():
        while True:
            sum(range(1000))

    for _ in range(4):
        threading.Thread(target=work, daemon=True).start()


def lock():
    """Four threads take turns, and the one whose turn it is sleeps."""
    turn = threading.Lock()

    def work():
        while True:
            with turn:
                time.sleep(0.01)

    for _ in range(4):
        threading.Thread(target=work, daemon=True).start()


def rest():
    """Fifty times a second there is something to do, for one of three."""
    jobs = queue.Queue(1)

    def produce():
        while True:
            time.sleep(0.02)
            jobs.put(1)

    def consume():
        while True:
            jobs.get()

    threading.Thread(target=produce, daemon=True).start()
    for _ in range(3):
        threading.Thread(target=consume, daemon=True).start()


def commit():
    """Each row is a transaction of its own."""
    database = sqlite3.connect(sys.argv[2], isolation_level=None)
    database.execute("create table if not exists numbers (number)")
    while True:
        database.execute("insert into numbers values (1)")


{"compute": compute, "lock": lock, "rest": rest, "commit": commit}[sys.argv[1]]()
signal.pause()
