"""A hot loop with calls of several levels, C code that calls back (sorted with a key), and rests in two threads."""

import os
import random
import signal
import threading
import time

signal.alarm(180)


def mix(value, rounds):
    for step in range(rounds):
        value = (value * 6364136223846793005 + step) & 0xFFFFFFFFFFFFFFFF
    return value


def sort_some(values):
    return sorted(values, key=lambda value: mix(value, 2))[0]


def outer(source):
    values = [source.getrandbits(64) for _ in range(50)]
    return sort_some(values) if source.random() < 0.5 else mix(values[0], 300)


def rest_and_wait(event):
    while True:
        event.wait()
        event.clear()


def main():
    event = threading.Event()
    threading.Thread(target=rest_and_wait, args=(event,), daemon=True).start()
    source = random.Random(1)
    print("ready", os.getpid(), flush=True)
    while True:
        for _ in range(source.randrange(100)):
            outer(source)
        event.set()
        time.sleep(source.uniform(0.0002, 0.0018))


main()
