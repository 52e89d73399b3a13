use std::{
    collections::VecDeque,
    fs,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc::channel,
    },
    time::Instant as Clock,
};

use super::{super::Limits, *};
use crate::{
    config,
    event::{Event, samples},
    record,
    spool::{self, Begin, Classify, Durability, Lane, Ledger, Options, Spool, WhenFull},
};

/// What the far side says to one batch.
type Answer = Box<dyn FnMut(usize) -> Verdict + Send>;

/// A far side whose answers come from the test; without one it takes everything.
#[derive(Clone, Default)]
struct Scripted {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    /// The ids of each batch.
    batches: Arc<Mutex<Vec<Vec<String>>>>,
    /// It never answers at all.
    hangs: bool,
    /// How often it was opened again.
    reopened: Arc<AtomicU32>,
}

impl Deliver for Scripted {
    fn limits(&self) -> Limits {
        Limits { records: 4, bytes: 1 << 20 }
    }
    async fn deliver(&mut self, records: &[Outgoing<'_>]) -> Vec<Verdict> {
        let ids = records.iter().map(|o| o.record.uid().to_owned()).collect();
        self.batches.lock().expect("nobody panicked").push(ids);
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let answer = self.answers.lock().expect("nobody panicked").pop_front();
        let answer = answer.unwrap_or_else(|| Box::new(|_| Verdict::Delivered));
        (0..records.len()).map(answer).collect()
    }
    fn reopen(&mut self) {
        self.reopened.fetch_add(1, Ordering::Relaxed);
    }
    async fn close(self) {}
}

impl Scripted {
    fn answering(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Self::default() }
    }

    fn batches(&self) -> Vec<Vec<String>> {
        self.batches.lock().expect("nobody panicked").clone()
    }
}

struct Nobody;

impl Classify for Nobody {
    fn fate(&self, _: &str, _: &[u8], _: &[u8]) -> Option<(Arc<str>, Arc<str>)> {
        None
    }
}

struct House {
    folder: tempfile::TempDir,
    spool: Spool,
    writer: spool::Writer,
    sequence: u64,
}

impl House {
    fn new() -> Self {
        Self::on(tempfile::tempdir().expect("a folder for the test"))
    }

    fn on(folder: tempfile::TempDir) -> Self {
        let options = Options {
            max_size: 4 << 20,
            max_age: Duration::MAX,
            when_full: WhenFull::DropOldest,
            durability: Durability::None,
        };
        let (spool, writer) = Spool::open(&folder.path().join("spool"), options).expect("it can be opened");
        Self { folder, spool, writer, sequence: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts so many loads into the spool, and gives their ids.
    fn push(&mut self, count: u64) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            self.sequence += 1;
            let mut event: Event = samples::load();
            event.origin.sequence = self.sequence;
            ids.push(event.id().to_string());
            let mut bytes = Vec::new();
            record::Writer::default().write(&event, &mut bytes);
            self.writer.push(Lane::ALL[3], &bytes).expect("it is not too long");
        }
        self.writer.commit(&Nobody).expect("there is room");
        ids
    }

    fn router(&self) -> Router {
        let file = self.path("kmodtrail.toml");
        let text = "[sinks.siem]\ntype = \"file\"\npath = \"/dev/shm/never-opened\"\n[[routes]]\nname = \"all\"\nto = [\"siem\"]\n";
        fs::write(&file, text).expect("the test may write");
        let (config, _) = config::load_with(&file, Some(config::no_environment())).unwrap_or_else(|e| panic!("{e}"));
        Router::new(&config, "siem").expect("there is no secret in it")
    }

    fn worker(&self, sink: Scripted) -> Worker<Scripted> {
        let reader = self.spool.reader("siem", Begin::Opening).expect("nobody has it");
        let dead_letters = Arc::new(DeadLetters::new(self.path("dead"), 1 << 20));
        let (name, router, health) = ("siem".to_owned(), self.router(), Health::new("siem"));
        let job = Job { name, sink, router, reader, dead_letters, health, held_back: channel().0 };
        Worker::start(job).expect("there can be a thread")
    }

    fn ledger(&self) -> Ledger {
        let ledgers = self.spool.status().readers;
        ledgers.into_iter().find(|l| &*l.reader == "siem").expect("it has an account")
    }

    /// Waits until nothing is pending.
    #[track_caller]
    fn settled(&self) -> Ledger {
        let end = Clock::now() + Duration::from_secs(20);
        loop {
            let ledger = self.ledger();
            assert!(ledger.balanced(), "{ledger:?}");
            if ledger.pending == 0 {
                return ledger;
            }
            assert!(Clock::now() < end, "not everything is settled: {ledger:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn end(worker: Worker<Scripted>) {
    worker.stop(Duration::ZERO);
    worker.join();
}

fn retry(why: &str) -> Verdict {
    Verdict::Retry(Trouble { why: why.into(), after: Some(Duration::from_millis(1)) })
}

#[test]
fn what_is_not_taken_is_tried_again_alone_and_in_order() {
    let mut house = House::new();
    let ids = house.push(4);
    let sink = Scripted::answering([
        Box::new(|i: usize| if i.is_multiple_of(2) { Verdict::Delivered } else { retry("busy") }) as Answer,
        Box::new(|_| retry("still busy")),
    ]);
    let worker = house.worker(sink.clone());
    let ledger = house.settled();
    assert_eq!((ledger.seen, ledger.delivered), (4, 4));
    let odd = vec![ids[1].clone(), ids[3].clone()];
    assert_eq!(sink.batches(), [ids, odd.clone(), odd]);
    assert_eq!((worker.health().state().trouble, worker.health().state().failures), (None, 2));
    end(worker);
}

#[test]
fn no_more_is_given_than_a_sink_takes_at_once() {
    let mut house = House::new();
    let ids = house.push(10);
    let sink = Scripted::default();
    let worker = house.worker(sink.clone());
    house.settled();
    assert!(sink.batches().iter().all(|batch| batch.len() <= 4), "{:?}", sink.batches());
    assert_eq!(sink.batches().concat(), ids);
    end(worker);
}

#[test]
fn what_is_refused_becomes_a_dead_letter_and_the_rest_goes_on() {
    let mut house = House::new();
    let ids = house.push(3);
    let sink = Scripted::answering([Box::new(|i: usize| match i {
        1 => Verdict::Refused("too large".into()),
        _ => Verdict::Delivered,
    }) as Answer]);
    let worker = house.worker(sink);
    let ledger = house.settled();
    assert_eq!((ledger.delivered, ledger.dropped.len()), (2, 1));
    let dropped = &ledger.dropped[0];
    assert_eq!((&*dropped.key.route, dropped.key.reason, dropped.count), ("all", DropReason::Refused, 1));
    let letters = fs::read_to_string(house.path("dead")).expect("there is one");
    assert!(letters.lines().count() == 1 && letters.contains(&ids[1]) && letters.contains("too large"), "{letters}");
    end(worker);
}

#[test]
fn a_dead_letter_that_can_t_be_kept_is_not_settled() {
    let mut house = House::new();
    fs::create_dir(house.path("dead")).expect("the test may make folders");
    house.push(1);
    let sink = Scripted::answering([Box::new(|_| Verdict::Refused("no".into())) as Answer]);
    let worker = house.worker(sink);
    let end_of_time = Clock::now() + Duration::from_secs(20);
    while worker.health().state().trouble.is_none() {
        assert!(Clock::now() < end_of_time, "nobody says that it can't be kept");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(house.ledger().pending, 1);
    // the second try is taken
    assert_eq!(house.settled().delivered, 1);
    end(worker);
}

#[test]
fn what_a_stopped_worker_had_in_its_hands_is_delivered_after_the_next_start() {
    let mut house = House::new();
    let ids = house.push(3);
    let hanging = Scripted { hangs: true, ..Scripted::default() };
    let worker = house.worker(hanging.clone());
    while hanging.batches().is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    end(worker);
    assert_eq!(house.ledger().pending, 3);

    let House { folder, spool, writer, .. } = house;
    drop((spool, writer));
    let house = House::on(folder);
    let sink = Scripted::default();
    let worker = house.worker(sink.clone());
    assert_eq!(house.settled().delivered, 3);
    assert_eq!(sink.batches(), [ids]);
    end(worker);
}

#[test]
fn another_sink_in_its_place_gets_what_the_first_one_could_not_deliver() {
    let mut house = House::new();
    let ids = house.push(2);
    let hanging = Scripted { hangs: true, ..Scripted::default() };
    let worker = house.worker(hanging.clone());
    while hanging.batches().is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    let sink = Scripted::default();
    worker.configure(house.router(), Some(sink.clone()));
    assert_eq!(house.settled().delivered, 2);
    assert_eq!(sink.batches(), [ids]);
    end(worker);
}

#[test]
fn an_order_is_carried_out_when_what_is_in_hand_is_written() {
    let mut house = House::new();
    house.push(1);
    let (go_on, waits) = channel::<()>();
    let sink = Scripted::answering([Box::new(move |_| {
        waits.recv().expect("the test lets it go on");
        Verdict::Delivered
    }) as Answer]);
    let worker = house.worker(sink.clone());
    while sink.batches().is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    let (pending, mut over) = mpsc::channel(1);
    worker.reopen(pending);
    assert_eq!(over.try_recv(), Err(mpsc::error::TryRecvError::Empty));
    assert_eq!(sink.reopened.load(Ordering::Relaxed), 0);
    go_on.send(()).expect("it waits for it");
    assert_eq!(over.blocking_recv(), None);
    assert_eq!(sink.reopened.load(Ordering::Relaxed), 1);
    end(worker);
}

#[test]
fn nobody_waits_for_an_order_while_a_far_side_has_no_answer() {
    let mut house = House::new();
    house.push(1);
    let hanging = Scripted { hangs: true, ..Scripted::default() };
    let worker = house.worker(hanging.clone());
    while hanging.batches().is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    let (pending, mut over) = mpsc::channel(1);
    worker.reopen(pending);
    assert_eq!(over.blocking_recv(), None);
    end(worker);
}
