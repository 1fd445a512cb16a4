//! What only Linux lets a test see and do: processes through `/proc`, and file systems in a namespace of their own.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::{Running, wait_for};

/// A worker that has written this much has told its greeting, what it loaded, and some steps with their previews.
const SAID_WHILE_PAINTING: u64 = 3_500;

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}

/// Sends a signal to one process.
pub fn signal(id: u32, signal: Signal) {
    kill_process(pid(id), signal).unwrap();
}

/// Sends a signal to all processes of a group, as a terminal does at Ctrl-C.
pub fn signal_group(leader: u32, signal: Signal) {
    kill_process_group(pid(leader), signal).unwrap();
}

/// Kills a process, which cannot do anything about it.
pub fn kill(id: u32) {
    signal(id, Signal::KILL);
}

/// When a process was started, in seconds of Unix time, to a hundredth.
///
/// # Panics
/// When there is no such process.
pub fn started_at(id: u32) -> f64 {
    /// The kernel's unit of `/proc`, which is fixed for programs: a hundredth of a second.
    const TICKS: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let ticks: f64 = stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap();
    let up: f64 = fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    now - up + ticks / TICKS
}

/// State letter and parent of a process; nothing when there is none.
fn stat(id: u32) -> Option<(char, u32)> {
    state(Path::new(&format!("/proc/{id}/stat")))
}

fn state(file: &Path) -> Option<(char, u32)> {
    let stat = fs::read_to_string(file).ok()?;
    // The name in brackets may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Whether a process still does anything. Its first thread may be gone before the others, which then hold its files.
pub fn is_alive(id: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{id}/task")) else { return false };
    let mut states = threads.flatten().filter_map(|thread| state(&thread.path().join("stat")));
    states.any(|(state, _)| !matches!(state, 'Z' | 'X'))
}

fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| stat(*id).is_some_and(|(state, of)| of == parent && state != 'Z')).collect()
}

/// Bytes that a process has written, pipes included.
fn written(id: u32) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{id}/io")).ok()?;
    io.lines().find_map(|line| line.strip_prefix("wchar: "))?.trim().parse().ok()
}

/// The engine worker that a program has started.
pub fn worker_of(program: u32) -> u32 {
    let named =
        |id: &u32| fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.starts_with("outframe-engin"));
    wait_for("the worker runs", || children(program).into_iter().find(named))
}

/// Waits until the program does something of its own at Ctrl-C and has started its worker.
pub fn starting_worker(of: &mut Running) -> u32 {
    let interrupt = 1_u64 << (Signal::INT.as_raw() - 1);
    wait_for("the worker's start", || {
        assert!(of.is_running(), "it ended before its worker was started: {}", of.stderr());
        let status = fs::read_to_string(format!("/proc/{}/status", of.id())).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
        children(of.id()).first().copied().filter(|_| caught & interrupt != 0)
    })
}

/// Waits until a worker of this program, none of the `earlier` ones, is in the middle of its job, and gives its process id.
pub fn painting_worker(of: &mut Running, earlier: &[u32]) -> u32 {
    wait_for("the worker's first steps", || {
        assert!(of.is_running(), "it ended before its job was under way: {}", of.stderr());
        let fresh = children(of.id()).into_iter().filter(|id| !earlier.contains(id));
        fresh.into_iter().find(|id| written(*id).is_some_and(|bytes| bytes > SAID_WHILE_PAINTING))
    })
}

/// A small file system in memory that only the programs started by [`Disk::command`] see; it vanishes with this value.
#[derive(Debug)]
pub struct Disk {
    holder: Child,
    folder: PathBuf,
    root: bool,
}

impl Disk {
    /// Mounts one of this size over an empty folder, or says why this system does not let a test do that.
    pub fn mount(folder: &Path, size: &str) -> Result<Self, String> {
        fs::create_dir_all(folder).unwrap();
        let root = rustix::process::geteuid().is_root();
        let mut command = Command::new("unshare");
        command.args(if root { &["--mount"][..] } else { &["--mount", "--user", "--map-root-user"] });
        // `cat` holds the namespace until its input is closed.
        command.args(["sh", "-c", "mount -t tmpfs -o size=\"$1\" outframe-test \"$0\" && echo mounted && exec cat"]);
        command.arg(folder).arg(size).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut holder = command.spawn().map_err(|error| format!("`unshare` does not start: {error}"))?;
        let mut line = String::new();
        let _ = BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line);
        let disk = Self { holder, folder: folder.into(), root };
        if line.trim() == "mounted" { Ok(disk) } else { Err("file systems cannot be mounted here".into()) }
    }

    /// The same command, where this disk is mounted.
    pub fn command(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--target={}", self.holder.id())).arg("--mount");
        if !self.root {
            inside.args(["--user", "--preserve-credentials"]);
        }
        let folder = command.get_current_dir().unwrap_or(&self.folder);
        // The folder is to be entered where the disk is already mounted.
        inside.args(["--", "sh", "-c", "cd \"$0\" && exec \"$@\""]).arg(folder);
        inside.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    fn shell(&self, script: &str) -> String {
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(&self.folder).current_dir("/");
        let output = self.command(&command).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Nothing can be written to it any more.
    pub fn make_read_only(&self) {
        self.shell("mount -o remount,ro \"$0\"");
    }

    /// Writes a file until not a byte more fits.
    pub fn fill(&self) {
        self.shell("cat /dev/zero > \"$0/ballast\" 2>/dev/null || true");
    }

    /// Takes that file away.
    pub fn free(&self) {
        self.shell("rm \"$0/ballast\"");
    }

    /// What lies on it.
    pub fn files(&self) -> BTreeSet<String> {
        self.shell("ls -A \"$0\"").lines().map(str::to_owned).collect()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A session bus of its own, which ends with it. Programs find each other there.
#[derive(Debug)]
pub struct Bus {
    daemon: Child,
    address: String,
}

impl Bus {
    /// Starts one.
    ///
    /// # Panics
    /// When dbus-daemon does not run.
    pub fn start() -> Self {
        let mut daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address=1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon runs (make setup installs it)");
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { daemon, address: address.trim().to_owned() }
    }

    /// What `DBUS_SESSION_BUS_ADDRESS` is to be.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
