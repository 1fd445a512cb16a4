//! One life of the worker process: its pipes, its events, its end.

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use outframe_engine::{
    Event, Frame, FrameError, PROTOCOL, Request,
    frame::{PRELUDE_LEN, Prelude, attachment_len, encode_head},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{Mutex as AsyncMutex, mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::EngineError;

/// How long the worker may take to answer after its start: libtorch is read from disk, which may be cold.
const START_TIMEOUT: Duration = Duration::from_mins(2);
/// Lines of the worker's messages that are kept for an error's text.
const KEPT_LINES: usize = 12;

/// How a worker ends that Ctrl-C has reached.
const INTERRUPTED: &str = "it was interrupted (signal 2)";

type Waiting = HashMap<u64, mpsc::Sender<Frame<Event>>>;

/// A running worker.
#[derive(Debug)]
pub(super) struct Process {
    pid: u32,
    input: AsyncMutex<ChildStdin>,
    shared: Arc<Shared>,
    ended: watch::Receiver<Option<String>>,
    kill: mpsc::Sender<()>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Who waits for the events of which request.
    waiting: Mutex<Waiting>,
    /// The end of what the worker printed.
    said: Mutex<VecDeque<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn said(&self) -> String {
        let lines: Vec<_> = lock(&self.said).iter().cloned().collect();
        if lines.is_empty() { String::new() } else { format!(" It said: {}", lines.join(" | ")) }
    }
}

impl Process {
    /// Starts the worker and waits for its greeting. [`EngineError::Cancelled`] where an interrupt ended it.
    pub(super) async fn start(program: &Path) -> Result<Self, EngineError> {
        let failed = |what: String| EngineError::Start { what, said: String::new() };
        let mut command = Command::new(program);
        // A group of its own: Ctrl-C in a terminal goes to the whole group, and it is this process that decides what becomes
        // of the worker. When this process is gone, the worker notices by its closed input.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command
            // Compute threads that wait for each other by spinning take the machine from everything else: on a busy one the
            // same picture took many times as long.
            .env("OMP_WAIT_POLICY", "PASSIVE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("{} does not run: {error}", program.display())))?;
        let (Some(input), Some(output), Some(messages)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed("its pipes are missing".into()));
        };
        let pid = child.id().unwrap_or_default();
        let shared = Arc::new(Shared::default());
        let keeper = Arc::clone(&shared);
        let listening = tokio::spawn(async move {
            let mut lines = BufReader::new(messages).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let mut said = lock(&keeper.said);
                if said.len() == KEPT_LINES {
                    said.pop_front();
                }
                said.push_back(line);
            }
        });

        let (hello, greeting) = oneshot::channel();
        let (kill, killed) = mpsc::channel(1);
        let (end, ended) = watch::channel(None);
        tokio::spawn(attend(child, output, Arc::clone(&shared), (hello, killed, end), listening));

        let process = Self { pid, input: AsyncMutex::new(input), shared, ended, kill };
        // A program that ends at once may take the greeting or not: either way there comes no answer, which is told below.
        let _ = process.tell(Request::Hello { protocol: PROTOCOL }).await;
        let (how, advice) = match tokio::time::timeout(START_TIMEOUT, greeting).await {
            Ok(Ok(PROTOCOL)) => return Ok(process),
            Ok(Ok(other)) => (
                format!("it speaks version {other} of the protocol, this program version {PROTOCOL}"),
                " Install both from the same release.".into(),
            ),
            Ok(Err(_)) => match process.how().await {
                // Ctrl-C reached it in the instant before it had its group: its terminal means all of us.
                how if how == INTERRUPTED => return Err(EngineError::Cancelled),
                how => (how, process.shared.said()),
            },
            Err(_) => {
                process.kill().await;
                (format!("it did not answer within {} seconds", START_TIMEOUT.as_secs()), process.shared.said())
            }
        };
        Err(EngineError::Start { what: format!("{}: {how}", program.display()), said: advice })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn is_dead(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Sends a message that has no answer.
    pub(super) async fn tell(&self, request: Request) -> Result<(), EngineError> {
        self.write(&Frame::new(request)).await
    }

    /// Sends a request and waits for its one answer.
    pub(super) async fn ask(&self, id: u64, request: Request) -> Result<Event, EngineError> {
        let mut events = self.send(id, Frame::new(request)).await?;
        match events.recv().await {
            Some(Frame { header: Event::Failed { error, .. }, .. }) => Err(EngineError::Refused(error)),
            Some(frame) => Ok(frame.header),
            None => Err(self.death().await),
        }
    }

    /// Sends a request and returns where its events arrive; that channel closes when the worker ends.
    pub(super) async fn send(
        &self,
        id: u64,
        request: Frame<Request>,
    ) -> Result<mpsc::Receiver<Frame<Event>>, EngineError> {
        let (sender, receiver) = mpsc::channel(64);
        lock(&self.shared.waiting).insert(id, sender);
        self.write(&request).await?;
        if self.is_dead() {
            lock(&self.shared.waiting).remove(&id);
        }
        Ok(receiver)
    }

    async fn write(&self, frame: &Frame<Request>) -> Result<(), EngineError> {
        let head = encode_head(frame)?;
        let mut input = self.input.lock().await;
        let sent = async {
            input.write_all(&head).await?;
            for attachment in &frame.attachments {
                input.write_all(&(attachment.len() as u64).to_le_bytes()).await?;
                input.write_all(attachment).await?;
            }
            input.flush().await
        };
        match sent.await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.death().await),
        }
    }

    /// Waits for the worker's end and says how it came.
    async fn how(&self) -> String {
        let mut ended = self.ended.clone();
        let how = tokio::time::timeout(Duration::from_secs(10), ended.wait_for(Option::is_some)).await;
        match how {
            Ok(Ok(how)) => how.clone().unwrap_or_default(),
            _ => "it closed the connection".into(),
        }
    }

    /// The error for a worker that has ended.
    pub(super) async fn death(&self) -> EngineError {
        let how = self.how().await;
        let advice = if how.contains("signal 9") {
            "if memory ran out, close other programs, choose a smaller picture or a smaller model, and try again."
        } else {
            "try again; if it happens again, a smaller picture or another model may help."
        };
        EngineError::Died { how, advice: advice.into(), said: self.shared.said() }
    }

    /// Kills the worker and waits for its end.
    pub(super) async fn kill(&self) {
        let _ = self.kill.try_send(());
        self.how().await;
    }

    /// Asks the worker to finish, and kills it if it does not.
    pub(super) async fn stop(&self) {
        let _ = self.tell(Request::Shutdown).await;
        let mut ended = self.ended.clone();
        if tokio::time::timeout(Duration::from_secs(5), ended.wait_for(Option::is_some)).await.is_err() {
            self.kill().await;
        }
    }
}

/// Reads the worker's events until it ends, then tells everyone who waits.
async fn attend(
    mut child: Child,
    output: ChildStdout,
    shared: Arc<Shared>,
    (hello, mut killed, end): (oneshot::Sender<u32>, mpsc::Receiver<()>, watch::Sender<Option<String>>),
    listening: JoinHandle<()>,
) {
    let mut hello = Some(hello);
    let reading = async {
        let mut output = BufReader::with_capacity(1 << 16, output);
        loop {
            let frame = match read_frame(&mut output).await {
                Ok(frame) => frame,
                Err(FrameError::Closed) => return None,
                Err(error) => return Some(error.to_string()),
            };
            if let Event::Hello { protocol, .. } = frame.header {
                if let Some(hello) = hello.take() {
                    let _ = hello.send(protocol);
                }
                continue;
            }
            let receiver = frame.header.id().and_then(|id| lock(&shared.waiting).get(&id).cloned());
            if let Some(receiver) = receiver {
                let last = !matches!(frame.header, Event::Progress { .. });
                if let (true, Some(id)) = (last, frame.header.id()) {
                    lock(&shared.waiting).remove(&id);
                }
                let _ = receiver.send(frame).await;
            }
        }
    };
    let broken = tokio::select! {
        broken = reading => broken,
        _ = killed.recv() => Some("it did not answer and was ended".to_owned()),
    };
    if broken.is_some() {
        let _ = child.start_kill();
    }
    let status = child.wait().await;
    let how = match (broken, status) {
        (Some(broken), _) => broken,
        (None, Ok(status)) => in_words(status),
        (None, Err(error)) => error.to_string(),
    };
    // Its last words belong to the error. Whoever else holds its standard error open is not waited for.
    let _ = tokio::time::timeout(Duration::from_secs(1), listening).await;
    let _ = end.send(Some(how));
    lock(&shared.waiting).clear();
}

fn in_words(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return match signal {
            2 => INTERRUPTED.into(),
            9 => "it was killed from outside (signal 9; often the system does that when memory runs out)".into(),
            11 | 7 => format!("it crashed (signal {signal})"),
            other => format!("it was ended by signal {other}"),
        };
    }
    match status.code() {
        Some(code) => format!("it exited with code {code}"),
        None => "it ended without a code".into(),
    }
}

/// The asynchronous twin of [`outframe_engine::frame::read`].
async fn read_frame(from: &mut (impl AsyncReadExt + Unpin)) -> Result<Frame<Event>, FrameError> {
    let mut prelude = [0; PRELUDE_LEN];
    let first = from.read(&mut prelude).await?;
    if first == 0 {
        return Err(FrameError::Closed);
    }
    from.read_exact(&mut prelude[first..]).await?;
    let prelude = Prelude::parse(prelude)?;
    let mut header = vec![0; prelude.header as usize];
    from.read_exact(&mut header).await?;
    let header = serde_json::from_slice(&header)?;
    let mut attachments = Vec::with_capacity(prelude.attachments as usize);
    for _ in 0..prelude.attachments {
        let mut length = [0; 8];
        from.read_exact(&mut length).await?;
        let length = attachment_len(length)?;
        let mut bytes = Vec::new();
        if from.take(length as u64).read_to_end(&mut bytes).await? < length {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        attachments.push(bytes);
    }
    Ok(Frame { header, attachments })
}
