# SPDX-License-Identifier: Apache-2.0
"""A real Linux host for the tests: Debian's kernel in qemu, driven from here.

qemu emulates in software (TCG), so no privileges and no KVM are needed. The guest is an initramfs
with the tools a storage admin has, or a whole Debian system on a disk; it reaches the services on this machine's 127.0.0.1 as HOST.
"""
import base64
import glob
import hashlib
import json
import lzma
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import zlib

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.path.join(TOP, "build/vm")
HERE = os.path.dirname(os.path.abspath(__file__))

HOST = "10.0.2.2"  # this machine's loopback as the guest sees it

# Loaded in this order at boot, each after what it depends on.
MODULES = ("virtio_pci", "virtio_console", "virtio_net", "nvme_tcp", "ext4")
PROGRAMS = ("nvme", "fio", "mkfs.ext4", "e2fsck")

# Processors: two that run at once, or one that takes 4 ns for each instruction
MULTI = ("-accel", "tcg,thread=multi", "-smp", "2")
COUNTED = ("-accel", "tcg,thread=single", "-icount", "shift=2", "-smp", "1")


class LabError(Exception):
    """The lab itself or a command in the guest went wrong; the message says which and how."""


def sh(*argv, cwd=None):
    p = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, check=False)
    if p.returncode:
        raise LabError(f"{' '.join(argv)}: status {p.returncode}\n{p.stdout}")
    return p.stdout


# ---- kernel ----

class Kernel:
    """One of Debian's kernels, downloaded once and unpacked in build/vm; never installed."""

    def __init__(self, series):
        os.makedirs(CACHE, exist_ok=True)
        found = glob.glob(os.path.join(CACHE, f"kernel-{series}.*"))
        self.root = found[0] if found else self.unpack(self.download(series))
        self.version, = os.listdir(os.path.join(self.root, "lib/modules"))
        self.image = os.path.join(self.root, "boot/vmlinuz-" + self.version)

    @staticmethod
    def download(series):
        debs = os.path.join(CACHE, f"linux-image-{series}.*.deb")
        if not glob.glob(debs):
            try:
                Kernel.apt_get_kernel(series)
            except LabError:  # no package lists yet, or old ones
                sh("apt-get", "-qq", "update")
                Kernel.apt_get_kernel(series)
        return glob.glob(debs)[0]

    @staticmethod
    def apt_get_kernel(series):
        """The newest of the series: 6.1.0-NN-amd64 of Debian 12, or 6.12.NN+deb12-amd64."""
        found = re.findall(rf"^linux-image-{re.escape(series)}\.(?:0-\d+|\d+\+deb12)-amd64$",
                           sh("apt-cache", "pkgnames", f"linux-image-{series}."), re.M)
        if not found:
            raise LabError(f"apt-cache knows no Linux {series}")
        newest = max(found, key=lambda name: [int(n) for n in re.findall(r"\d+", name)])
        sh("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", newest, cwd=CACHE)

    @staticmethod
    def unpack(deb):
        root = os.path.join(CACHE, "kernel-" + os.path.basename(deb).split("_")[1])
        with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
            sh("dpkg", "-x", deb, tmp + "/kernel")
            version, = os.listdir(tmp + "/kernel/lib/modules")
            sh("/sbin/depmod", "-b", tmp + "/kernel", version)
            os.rename(tmp + "/kernel", root)
        os.unlink(deb)
        return root

    def module_files(self, names):
        """Files of the modules and of all that they need, in the order to load them."""
        files = []
        for name in names:
            out = sh("/sbin/modprobe", "-d", self.root, "-S", self.version, "--show-depends", name)
            for line in out.splitlines():
                # After the file come options that this machine has for the module.
                kind, file, *_ = line.split()
                if kind == "insmod" and file not in files:
                    files.append(file)
        return files


# ---- initramfs ----

def libraries(program):
    with open(program, "rb") as f:
        if f.read(4) != b"\x7fELF":
            return []
    return re.findall(r"(/\S+) \(0x", sh("ldd", program))


def which(program):
    path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not path:
        raise LabError(f"{program} is not installed: make deps")
    return path


def initramfs(kernel, modules, programs, files, brought=()):
    """The guest's root as a cpio archive; made anew when anything that goes in has changed.

    Programs (names or paths) come with their libraries into PATH, files where they are here, and
    what is brought into /lab.
    """
    init = os.path.join(HERE, "init")
    brought = (os.path.join(HERE, "runner"), *brought)
    kind = hashlib.sha256(repr((modules, programs, files, brought)).encode()).hexdigest()[:8]
    modules = kernel.module_files(modules)
    programs = [p if "/" in p else which(p) for p in programs]
    busybox = which("busybox")
    state = [(f, os.stat(f).st_size, os.stat(f).st_mtime_ns)
             for f in (__file__, init, busybox, *brought, *programs, *files, *modules)]
    out = os.path.join(CACHE, f"{kind}-" + hashlib.sha256(repr(state).encode()).hexdigest()[:16]
                       + ".cpio")
    if os.path.exists(out):
        return out
    with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
        root = os.path.join(tmp, "root")
        for folder in ("bin", "dev", "proc", "sys", "run", "lab"):
            os.makedirs(os.path.join(root, folder))
        shutil.copy(init, root + "/init")
        os.chmod(root + "/init", 0o755)
        shutil.copy(busybox, root + "/bin/busybox")
        for file in brought:
            shutil.copy(file, root + "/lab")
        for program in programs:
            inside = program if program.startswith("/usr") else "/bin/" + os.path.basename(program)
            os.makedirs(root + os.path.dirname(inside), exist_ok=True)
            shutil.copy(program, root + inside)
        for file in {*files, *(f for p in (*programs, *files) for f in libraries(p))}:
            os.makedirs(root + os.path.dirname(file), exist_ok=True)
            shutil.copy(file, root + file)
        with open(root + "/modules", "w", encoding="ascii") as f:
            for file in modules:
                inside = "/lib/modules/" + os.path.basename(file).removesuffix(".xz")
                os.makedirs(root + "/lib/modules", exist_ok=True)
                with (lzma.open if file.endswith(".xz") else open)(file, "rb") as module:
                    with open(root + inside, "wb") as copy:
                        shutil.copyfileobj(module, copy)
                f.write(inside + "\n")
        with open(tmp + "/cpio", "wb") as f:
            names = subprocess.run(["find", "."], cwd=root, stdout=subprocess.PIPE, check=True)
            subprocess.run(["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"], cwd=root,
                           input=names.stdout, stdout=f, check=True)
        for old in glob.glob(os.path.join(CACHE, f"{kind}-*.cpio")):
            os.unlink(old)
        os.rename(tmp + "/cpio", out)
    return out


# ---- disk ----

def debian_disk(deb, packages):
    """
    The image of a minimal Debian system with these packages and what the package @deb depends on,
    but not that itself. Made once, which takes a minute.
    """
    script = os.path.join(HERE, "disk.sh")
    depends = sh("dpkg-deb", "-f", deb, "Depends").replace("\n", "")
    packages = sorted({*packages, *(re.split(r"[ |:]", d.strip())[0] for d in depends.split(","))})
    with open(script, "rb") as f:
        key = hashlib.sha256(f.read() + repr(packages).encode()).hexdigest()[:16]
    image = os.path.join(CACHE, f"disk-{key}.img")
    if not os.path.exists(image):
        os.makedirs(CACHE, exist_ok=True)
        for old in glob.glob(os.path.join(CACHE, "disk-*.img")):
            os.unlink(old)
        sh(script, image, *packages)
    return image


# ---- the guest ----

class Job:
    """A command that goes on in the guest while the test does other things."""

    def __init__(self, vm, number, command):
        self.vm, self.command = vm, command
        self.file = f"/run/job{number}"
        vm.run(f"(({command}\n) >{self.file}.out 2>&1 </dev/null; echo $? >{self.file}.tmp; "
               f"mv {self.file}.tmp {self.file}.rc) >/dev/null 2>&1 &")

    def running(self):
        return self.vm.status(f"test -e {self.file}.rc")[0] != 0

    def wait(self, timeout):
        """Its exit status and output."""
        deadline = time.monotonic() + timeout
        while self.running():
            if time.monotonic() > deadline:
                raise LabError(f"still running after {timeout} s: {self.command}\n{self.output()}\n"
                               + self.vm.stuck())
            time.sleep(0.2)
        return int(self.vm.run(f"cat {self.file}.rc")), self.output()

    def output(self):
        return self.vm.run(f"cat {self.file}.out")


def fio_jobs(status, out):
    """The jobs of the reports that fio printed, all of which went well.

    Debian 12's fio (3.33) sometimes frees something twice when it exits, after the whole report:
    that tells nothing about the I/O.
    """
    jobs, at = [], out.find("{")
    if at < 0 or status not in (0, 128 + signal.SIGABRT):
        raise LabError(f"fio ended with {status}:\n{out}")
    while at >= 0:
        try:
            report, end = json.JSONDecoder().raw_decode(out, at)
        except ValueError as e:
            raise LabError(f"fio ended with {status}, without a whole report:\n{out}") from e
        jobs += report["jobs"]
        at = out.find("{", end)
    if any(job["error"] for job in jobs):
        raise LabError("fio met errors:\n" + out)
    return jobs


class VM:
    """One guest, up from __enter__ to __exit__. Its console goes to build/vm/NAME.log.

    With @counted its time is that of the instructions it executes, on one processor, and real time
    only while it has nothing to do: what takes twice as many takes twice as long, whatever else this
    machine does meanwhile, and no timeout in it passes because this machine has other work.
    @cable is one end of a socket pair (datagrams) to another guest: then there is an eth1, which
    plug() pulls out and puts in.
    """

    def __init__(self, name="guest", modules=(), programs=(), files=(), cmdline="", memory="1G",
                 brought=(), drives=(), counted=False, kernel="6.1", cable=None):
        self.name, self.modules, self.memory = name, MODULES + tuple(modules), memory
        self.processors = COUNTED if counted else MULTI
        self.kernel, self.cable, self.monitor = kernel, cable, None
        self.programs, self.files = PROGRAMS + tuple(programs), tuple(files)
        self.brought = tuple(brought)
        # /dev/vda and so on; what the guest writes there is gone with it
        self.drives = [arg for drive in drives
                       for arg in ("-drive", f"file={drive},format=raw,if=virtio,snapshot=on")]
        # A busy machine may be late with the few ticks by which the kernel judges its timer.
        self.cmdline = ("console=ttyS0 loglevel=4 panic=-1 mitigations=off random.trust_cpu=on "
                        "tsc=reliable no_timer_check sysrq_always_enabled " + cmdline)
        self.log = os.path.join(CACHE, name + ".log")
        self.qemu = self.port = None
        self.buffer = b""
        self.number = 0

    def __enter__(self):
        kernel = Kernel(self.kernel)
        cpio = initramfs(kernel, self.modules, self.programs, self.files, self.brought)
        self.port, guest_end = socket.socketpair()
        self.monitor, monitor_end = socket.socketpair()
        fds = [guest_end.fileno(), monitor_end.fileno()]
        argv = ["qemu-system-x86_64", *self.processors, "-cpu", "max", "-m", self.memory,
                "-nodefaults", "-display", "none", "-no-reboot",
                "-kernel", kernel.image, "-initrd", cpio, "-append", self.cmdline,
                "-serial", "file:" + self.log,
                "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=",
                "-chardev", f"socket,id=lab,fd={guest_end.fileno()}",
                "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=lab,name=lab",
                "-chardev", f"socket,id=mon,fd={monitor_end.fileno()}", "-mon", "chardev=mon",
                *self.drives]
        if self.cable:
            fds.append(self.cable.fileno())
            mac = zlib.crc32(self.name.encode()).to_bytes(4, "big")[1:].hex(":")
            argv += ["-netdev", f"dgram,id=cable,local.type=fd,local.str={self.cable.fileno()}",
                     "-device", f"virtio-net-pci,id=eth1,netdev=cable,romfile=,mac=52:54:00:{mac}"]
        with open(self.log + ".qemu", "wb") as log:
            self.qemu = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         pass_fds=fds)
        guest_end.close()
        monitor_end.close()
        try:
            self.answer(180)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.port.close()  # the guest powers off when it sees this
        self.monitor.close()
        try:
            self.qemu.wait(5)
        except subprocess.TimeoutExpired:
            self.qemu.kill()
            self.qemu.wait()

    def plug(self, there):
        """The cable is out or in: the guest's eth1 has a carrier or not."""
        self.monitor.sendall(b"set_link eth1 %s\n" % (b"on" if there else b"off"))

    def receive(self, deadline):
        """More bytes into the buffer."""
        if not select.select([self.port], [], [], max(0, deadline - time.monotonic()))[0]:
            raise LabError(f"the guest does not answer\n{self.stuck()}")
        data = self.port.recv(1 << 16)
        if not data:
            raise LabError(f"the guest has gone\n{self.log_tail()}")
        self.buffer += data

    def answer(self, timeout):
        """Status and output of the latest command."""
        deadline = time.monotonic() + timeout
        while True:
            while b"\n" not in self.buffer:
                self.receive(deadline)
            head, _, self.buffer = self.buffer.partition(b"\n")
            number, status, size = map(int, head.split())
            while len(self.buffer) < size:
                self.receive(deadline)
            out, self.buffer = self.buffer[:size], self.buffer[size:]
            if number == self.number:  # else: of one that was given up
                return status, out.decode(errors="replace")

    def status(self, script, timeout=90):
        """Run a shell script; its exit status and what it printed, errors too."""
        self.number += 1
        self.port.sendall(b"%d %s\n" % (self.number, base64.b64encode(script.encode())))
        return self.answer(timeout)

    def run(self, script, timeout=90):
        """The same for a script that must work: what it printed."""
        status, out = self.status(script, timeout)
        if status:
            raise LabError(f"in the guest: {script}: status {status}\n{out}")
        return out

    def json(self, command, timeout=90):
        """What a command printed as JSON, parsed; what it says on stderr is dropped."""
        out = self.run(command + " 2>/dev/null", timeout)
        try:
            return json.loads(out)
        except ValueError as e:
            raise LabError(f"in the guest: {command}: no JSON ({e}):\n{out}") from e

    def spawn(self, command):
        return Job(self, self.number + 1, command)

    def stuck(self):
        """The console's end, with the stacks of all that waits in the kernel and nothing can end."""
        self.monitor.sendall(b"sendkey alt-sysrq-w\n")
        before, size = -1, 0
        while size > before:  # until it has said all
            time.sleep(2)
            before, size = size, os.path.getsize(self.log)
        return self.log_tail(300)

    def log_tail(self, lines=40):
        with open(self.log, errors="replace", encoding="utf-8") as f:
            console = f.readlines()
        with open(self.log + ".qemu", errors="replace", encoding="utf-8") as f:
            qemu = f.readlines()
        return f"--- end of {self.log}\n" + "".join(console[-lines:] + qemu[-lines:])
