#!/usr/bin/env python3
"""Makes the fuzzer's seeds anew, but for that of `capture`; see README.md. Needs gcc and binutils, on x86_64."""

import pathlib
import struct
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def run(*command):
    subprocess.run([str(part) for part in command], check=True, cwd=HERE)


def maps():
    lines = [
        b"55d0c0a00000-55d0c0a24000 r-xp 00004000 fe:01 131301       /usr/bin/db server",
        b"7f1c8a028000-7f1c8a1bd000 r-xp 00028000 fe:01 393249       /usr/lib/libc.so.6 (deleted)",
        b"7f1c8a300000-7f1c8a301000 rwxp 00000000 00:00 0 ",
        b"7f1c8a400000-7f1c8a401000 r-xs 00000000 00:01 5            /memfd:jit (deleted)",
        b"7f1c8a500000-7f1c8a501000 r-xp 00000000 fe:01 7            /tmp/a\\012b\\134c",
        b"7ffd3a9fe000-7ffd3aa00000 r-xp 00000000 00:00 0            [vdso]",
    ]
    (HERE / "maps/lines").write_bytes(b"\n".join(lines) + b"\n")


def records():
    """Two waits of thread 11 and a sample on the CPU, a fork, an exec, an end, an account that stays open."""

    def sample(kind, state, ip, wait, repeated, repeats):
        ids, registers, lengths = (kind, 11, 10, state), (7, ip, 0x7000, 0x7010, 0), (16, 16)
        header = struct.pack("<4I5QiI", *ids, *registers, *lengths)
        header += struct.pack("<4I", 2**30 - 1, wait, repeated, repeats)
        return header + struct.pack("<127Q", *range(0xFFFF0000, 0xFFFF0000 + 127)) + struct.pack("<2Q", 0x1001, 0x2008)

    def process(kind, parent):
        return struct.pack("<4IQ16s", kind, 12, 12, parent, 99, b"postgres")

    def end(tid, open_at_end):
        record = struct.pack("<4Q10IQ2I16s", 1, 1000, 1000, 3000, tid, 10, tid, 10, 28, 1, 2, 2, 3, 4, 900, 5, 3, b"worker")
        times = struct.pack("<48Q48I", *(500 * (code < 3) for code in range(48)), *(code < 3 for code in range(48)))
        return struct.pack("<2I", 3, open_at_end) + record + times

    on_cpu, timer = 0, 28
    parts = [
        sample(2, timer, 0x1001, 1, 0, 0), sample(2, timer, 0x2001, 2, 1, 5), sample(1, on_cpu, 0x3001, 0, 0, 0),
        process(4, 10), process(5, 0), end(11, 0), end(13, 1),
    ]
    (HERE / "decode/records").write_bytes(b"".join(struct.pack("<H", len(part)) + part for part in parts))


def go_table(at):
    """`.gopclntab` of Go 1.20: `caller` is called main.main, and `_start` runtime.goexit."""
    names = b"main.main\0runtime.goexit\0"
    table = 72 + len(names)
    head = struct.pack("<IHBB8Q", 0xFFFFFFF1, 0, 1, 8, 2, 0, at["caller"], 72, table, table, table, table)
    start = at["_start"] - at["caller"]
    return head + names + struct.pack("<9I", 0, 20, start, 28, start + 64, 0, 0, start, 10)


def program(name, *options, compress=False, go=False):
    """A program linked to where the fuzzer maps it, and a stack in it whose callers are `caller` and `_start`."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "program"
        run("gcc", "-O1", "-fno-pie", "-no-pie", "-static", "-nostdlib", "-Wl,-z,noseparate-code",
            "-Wl,--build-id", "-Wl,-Ttext-segment=0x100000", *options, "elf.c", "-o", file)
        symbols = subprocess.run(["nm", file], check=True, capture_output=True, text=True).stdout.split("\n")
        at = {line.split()[2]: int(line.split()[0], 16) for line in symbols if line}
        run("objcopy", "--strip-all", "--keep-section=.debug_frame", "--remove-section=.comment", file)
        if compress:
            run("objcopy", "--compress-debug-sections=zlib", file)
        if go:
            section = pathlib.Path(folder) / "table"
            section.write_bytes(go_table(at))
            run("objcopy", f"--add-section=.gopclntab={section}", file)
        sp = 0x7FFF0000
        words = [at["leaf"], sp, sp + 16, 0, at["caller"] + 20] + [at["_start"] + 5] * 27
        # The fuzzer takes 256 bytes: registers and 28 words. What `caller` has saved looks like a return address too.
        (HERE / "elf" / name).write_bytes(file.read_bytes() + struct.pack("<32Q", *words))


def btf():
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "btf.o"
        # From standard input and in `/`, because the types name the file and the folder.
        source = (HERE / "btf.c").read_bytes()
        subprocess.run(["gcc", "-gbtf", "-c", "-x", "c", "-", "-o", file], check=True, cwd="/", input=source)
        section = ["--only-section=.BTF", "--set-section-flags", ".BTF=alloc"]
        run("objcopy", "-O", "binary", *section, file, HERE / "btf/types")


for target in ("maps", "decode", "elf", "btf"):
    (HERE / target).mkdir(exist_ok=True)
maps()
records()
program("indexed", "-Wl,--eh-frame-hdr")
program("without_index")
program("debug_frame", "-g", "-fno-asynchronous-unwind-tables")
program("compressed", "-g", "-fno-asynchronous-unwind-tables", compress=True)
program("go", go=True)
btf()
