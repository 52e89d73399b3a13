//! The spool against a model of it, on a disk that does everything a disk may do.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use proptest::{prelude::*, test_runner::Config};

use super::{
    super::{
        Begin, Chunk, Classify, DropKey, Durability, Fate, Lane, Options, Position, Reader, Reason, Spool, WhenFull,
        Writer,
        account::Ledger,
        shared::{Cell, lock},
    },
    sim::{Fortune, SimDisk},
};

const READERS: [&str; 2] = ["file", "kafka"];

#[derive(Debug, Clone)]
enum Op {
    Push { lane: u8, size: u16, count: u8 },
    Commit,
    Context(u8),
    Read { reader: usize, max_bytes: u16 },
    Settle { reader: usize, pick: Vec<u16>, refused: bool },
    SettleAll { reader: usize },
    Save { reader: usize },
    Rewind { reader: usize },
    Detach { reader: usize },
    Sync,
    Tick,
    Pass { seconds: u16 },
    Free(Option<u16>),
    Fail { working: u8, failing: u8 },
    Kill,
    LosePower(u64),
    Check,
}

fn op() -> impl Strategy<Value = Op> {
    let reader = 0..READERS.len();
    prop_oneof![
        12 => (0..6u8, 0..9000u16, 1..12u8).prop_map(|(lane, size, count)| Op::Push { lane, size, count }),
        8 => Just(Op::Commit),
        1 => (0..3u8).prop_map(Op::Context),
        8 => (reader.clone(), 0..40_000u16).prop_map(|(reader, max_bytes)| Op::Read { reader, max_bytes }),
        5 => (reader.clone(), prop::collection::vec(any::<u16>(), 1..20), any::<bool>())
            .prop_map(|(reader, pick, refused)| Op::Settle { reader, pick, refused }),
        3 => reader.clone().prop_map(|reader| Op::SettleAll { reader }),
        4 => reader.clone().prop_map(|reader| Op::Save { reader }),
        1 => reader.clone().prop_map(|reader| Op::Rewind { reader }),
        1 => reader.prop_map(|reader| Op::Detach { reader }),
        3 => Just(Op::Sync),
        3 => Just(Op::Tick),
        1 => (0..4000u16).prop_map(|seconds| Op::Pass { seconds }),
        1 => prop::option::of(0..20_000u16).prop_map(Op::Free),
        1 => (0..30u8, 1..6u8).prop_map(|(working, failing)| Op::Fail { working, failing }),
        1 => Just(Op::Kill),
        1 => any::<u64>().prop_map(Op::LosePower),
        2 => Just(Op::Check),
    ]
}

/// xorshift: its seed is part of the case.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % (sides as u64 + 1)) as usize
    }
}

impl Fortune for Dice {
    fn kept(&mut self) -> bool {
        self.roll(1) == 1
    }

    fn torn(&mut self, bytes: usize) -> usize {
        self.roll(bytes)
    }
}

struct ById;

/// Every third is for nobody.
impl Classify for ById {
    fn fate(&self, _: &str, context: &[u8], payload: &[u8]) -> Option<(Arc<str>, Arc<str>)> {
        let id = id(payload);
        assert_eq!(context, [b'c', payload[8]], "the context of {id}");
        (!id.is_multiple_of(3)).then(|| (Arc::from("default"), Arc::from(format!("event{}", id % 5))))
    }
}

fn id(payload: &[u8]) -> usize {
    u64::from_le_bytes(payload[..8].try_into().expect("a record has an id")) as usize
}

/// What was pushed. Its index is its id.
struct Record {
    lane: Lane,
    payload: Vec<u8>,
    /// A commit returned for it.
    committed: bool,
    /// It outlives a loss of power.
    durable: bool,
}

/// One reader from one opening to the next.
#[derive(Default)]
struct Run {
    reader: Option<Reader>,
    in_hand: BTreeMap<Position, usize>,
    handed_out: BTreeSet<usize>,
    last: Option<usize>,
    last_in_lane: [Option<usize>; 6],
}

struct World {
    disk: SimDisk,
    options: Options,
    spool: Spool,
    writer: Option<Writer>,
    runs: [Run; 2],
    /// Ids that each reader has settled at some time.
    settled: [BTreeSet<usize>; 2],
    records: Vec<Record>,
    /// Ids of what this process has pushed and not committed.
    pending: [Vec<usize>; 6],
    context: u8,
    /// Something may come later than it was pushed.
    disorder: bool,
    /// The disk may have lost what it had been given.
    faults: bool,
    unsafe_power_loss: bool,
}

fn open(disk: &SimDisk, options: Options) -> (Spool, Writer) {
    Spool::open_on(Arc::new(disk.clone()), Path::new("/spool"), options).expect("the disk works")
}

fn runs(spool: &Spool) -> [Run; 2] {
    READERS.map(|name| Run { reader: Some(spool.reader(name, Begin::Opening).expect("it is free")), ..Run::default() })
}

impl World {
    fn new(options: Options) -> Self {
        let disk = SimDisk::new();
        let (spool, mut writer) = open(&disk, options);
        writer.set_context(b"c\0").expect("it is small");
        Self {
            runs: runs(&spool),
            disk,
            options,
            spool,
            writer: Some(writer),
            settled: Default::default(),
            records: Vec::new(),
            pending: Default::default(),
            context: 0,
            disorder: false,
            faults: false,
            unsafe_power_loss: false,
        }
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("it is open")
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Push { lane, size, count } => {
                for _ in 0..count {
                    self.push(Lane::new(lane).expect("it is below six"), size);
                }
                self.commit();
            }
            Op::Commit => self.commit(),
            Op::Context(context) => {
                self.context = context;
                self.writer().set_context(&[b'c', context]).expect("it is small");
            }
            Op::Read { reader, max_bytes } => {
                self.read(reader, usize::from(max_bytes));
            }
            Op::Settle { reader, pick, refused } => self.settle(reader, &pick, refused),
            Op::SettleAll { reader } => self.settle_all(reader),
            Op::Save { reader } => {
                // a disk that fails says so, and the account that was saved last counts
                let _: std::io::Result<()> = self.reader(reader).save();
            }
            Op::Rewind { reader } => {
                self.reader(reader).rewind();
                self.begin_again(reader);
            }
            Op::Detach { reader } => {
                self.runs[reader].reader = None;
                self.runs[reader].reader = Some(self.spool.reader(READERS[reader], Begin::Now).expect("it is free"));
                self.begin_again(reader);
            }
            Op::Sync => self.sync(),
            Op::Tick => self.writer().tick(&ById),
            Op::Pass { seconds } => self.disk.pass(Duration::from_secs(seconds.into())),
            Op::Free(free) => self.disk.set_free(free.map(u64::from)),
            Op::Fail { working, failing } => {
                self.faults = true;
                self.disk.fail(working.into(), failing.into());
            }
            Op::Kill => self.reopen(None),
            Op::LosePower(seed) => self.reopen(Some(Dice(seed | 1))),
            Op::Check => self.check(),
        }
        assert!(self.disk.used() <= self.options.max_size, "{} bytes: {:?}", self.disk.used(), self.disk.names());
        let status = self.spool.status();
        assert!(self.disk.used() <= status.bytes, "{} bytes are not all accounted for: {status:?}", self.disk.used());
        for ledger in status.readers {
            assert!(ledger.balanced(), "{ledger:?}");
        }
    }

    fn push(&mut self, lane: Lane, size: u16) {
        let id = self.records.len();
        let mut payload = (id as u64).to_le_bytes().to_vec();
        payload.push(self.context);
        payload.extend((0..size).map(|i| (id as u16).wrapping_mul(31).wrapping_add(i) as u8));
        self.writer().push(lane, &payload).expect("it is small");
        self.pending[lane.index()].push(id);
        self.records.push(Record { lane, payload, committed: false, durable: false });
    }

    fn commit(&mut self) {
        let complete = self.writer().commit(&ById).is_ok();
        let writer = self.writer();
        let waiting = Lane::ALL.map(|lane| writer.waiting(lane));
        assert_eq!(complete && writer.takes_bulk(), waiting == [0; 6], "{waiting:?}");
        self.disorder |= waiting != [0; 6];
        let durable = self.options.durability == Durability::Always;
        for (pending, waiting) in self.pending.iter_mut().zip(waiting) {
            for id in pending.drain(..pending.len() - waiting as usize) {
                self.records[id].committed = true;
                self.records[id].durable = durable;
            }
        }
    }

    fn sync(&mut self) {
        let shared = &self.spool.shared;
        let synced = matches!(self.options.durability, Durability::Interval(_)) && shared.sync().is_ok();
        // what failed before is written once more by the next commit
        if synced && lock(&shared.unsynced).failed.is_empty() {
            self.records.iter_mut().for_each(|record| record.durable |= record.committed);
        }
    }

    fn reader(&mut self, reader: usize) -> &mut Reader {
        self.runs[reader].reader.as_mut().expect("it is attached")
    }

    fn begin_again(&mut self, reader: usize) {
        let run = &mut self.runs[reader];
        run.in_hand.clear();
        run.handed_out.clear();
        (run.last, run.last_in_lane) = (None, [None; 6]);
    }

    fn read(&mut self, reader: usize, max_bytes: usize) -> usize {
        let mut chunk = Chunk::default();
        let Ok(read) = self.reader(reader).read(&mut chunk, max_bytes) else { return 1 };
        assert_eq!(read, chunk.entries.len());
        let run = &mut self.runs[reader];
        for entry in &chunk.entries {
            let payload = chunk.payload(entry);
            let record = &self.records[id(payload)];
            let id = id(payload);
            assert!(payload == record.payload, "{id} is as it was pushed");
            assert_eq!(entry.position.lane, record.lane, "{id} is in its lane");
            assert_eq!(*entry.context, [b'c', payload[8]], "{id} has its context");
            assert!(run.handed_out.insert(id), "{id} is handed out once");
            assert!(run.in_hand.insert(entry.position, id).is_none(), "{:?} is another one's", entry.position);
            let last = run.last_in_lane[record.lane.index()].replace(id);
            assert!(last < Some(id), "{id} comes after {last:?} in its lane");
            let last = run.last.replace(id);
            assert!(self.disorder || last < Some(id), "{id} comes after {last:?}");
        }
        read
    }

    fn settle(&mut self, reader: usize, pick: &[u16], refused: bool) {
        for &pick in pick {
            let run = &mut self.runs[reader];
            if run.in_hand.is_empty() {
                return;
            }
            let at = usize::from(pick) % run.in_hand.len();
            let (&position, &id) = run.in_hand.iter().nth(at).expect("it is one of them");
            run.in_hand.remove(&position);
            let key = DropKey { route: Arc::from("default"), event: Arc::from("load"), reason: Reason::Refused };
            let fate = if refused { Fate::Dropped(key) } else { Fate::Delivered };
            self.reader(reader).settle(position, &fate);
            self.settled[reader].insert(id);
        }
    }

    fn settle_all(&mut self, reader: usize) {
        let in_hand = std::mem::take(&mut self.runs[reader].in_hand);
        for (position, id) in in_hand {
            self.reader(reader).settle(position, &Fate::Delivered);
            self.settled[reader].insert(id);
        }
    }

    fn reopen(&mut self, power: Option<Dice>) {
        self.disk.fail(0, 0);
        let dropped = |cell: &Arc<Cell>| (0..6).any(|lane| cell.lock().account.why(lane) != Reason::Unknown);
        let dropped = self.spool.shared.cells().iter().any(dropped);
        self.runs.iter_mut().for_each(|run| run.reader = None);
        self.writer = None;
        if let Some(mut dice) = power {
            self.disk.lose_power(&mut dice);
            self.records.iter_mut().for_each(|record| record.committed = record.durable);
            // what was deleted by rule may be back in part
            self.unsafe_power_loss |= self.options.durability != Durability::Always || dropped;
        }
        let (spool, mut writer) = open(&self.disk, self.options);
        writer.set_context(&[b'c', self.context]).expect("it is small");
        self.disk.set_free(None);
        self.spool = spool;
        self.runs = runs(&self.spool);
        self.writer = Some(writer);
        self.pending = Default::default();
        self.disorder = false;
    }

    /// Everything that must be there is there, or was told as lost.
    fn check(&mut self) {
        for reader in 0..READERS.len() {
            while self.read(reader, 1 << 20) > 0 {}
            let ledger = self.ledger(reader);
            let run = &self.runs[reader];
            assert_eq!(ledger.pending, run.in_hand.len() as u64, "what is not handed out is accounted for: {ledger:?}");
            let all = self.records.iter().enumerate().filter(|(_, record)| record.committed);
            let missing = all.filter(|(id, _)| !run.handed_out.contains(id) && !self.settled[reader].contains(id));
            let missing: Vec<_> = missing.map(|(id, _)| id).collect();
            let by_disk = told(&ledger, &[Reason::Damaged, Reason::Unknown]);
            assert!(missing.len() as u64 <= by_rule(&ledger) + by_disk, "{missing:?} are lost silently: {ledger:?}");
            assert!(by_disk == 0 || self.faults || self.unsafe_power_loss, "nothing may be damaged: {ledger:?}");
        }
    }

    fn ledger(&self, reader: usize) -> Ledger {
        let readers = self.spool.status().readers;
        readers.into_iter().find(|ledger| &*ledger.reader == READERS[reader]).expect("it has an account")
    }
}

fn told(ledger: &Ledger, reasons: &[Reason]) -> u64 {
    ledger.dropped.iter().filter(|dropped| reasons.contains(&dropped.key.reason)).map(|dropped| dropped.count).sum()
}

/// Lost because there was no room, or it was too old.
fn by_rule(ledger: &Ledger) -> u64 {
    told(ledger, &[Reason::SpoolFull, Reason::TooOld]) + ledger.routed_nowhere
}

fn options() -> impl Strategy<Value = Options> {
    let durability = prop_oneof![
        Just(Durability::Always),
        Just(Durability::Interval(Duration::from_secs(1))),
        Just(Durability::None)
    ];
    let when_full = prop_oneof![Just(WhenFull::DropOldest), Just(WhenFull::BlockBulk)];
    (durability, when_full).prop_map(|(durability, when_full)| Options {
        max_size: Options::LEAST_SIZE,
        max_age: Duration::from_secs(3600),
        when_full,
        durability,
    })
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() })]

    #[test]
    fn whatever_the_disk_does_nothing_is_lost_silently(options in options(), ops in prop::collection::vec(op(), 1..80)) {
        let mut world = World::new(options);
        ops.into_iter().for_each(|op| world.run(op));
        world.disk.fail(0, 0);
        world.check();
    }
}

#[test]
fn what_can_neither_be_written_once_more_nor_removed_is_accounted_for() {
    let options = Options {
        max_size: Options::LEAST_SIZE,
        max_age: Duration::from_secs(3600),
        when_full: WhenFull::DropOldest,
        durability: Durability::Interval(Duration::from_secs(1)),
    };
    let mut world = World::new(options);
    let push = |lane, size, count| Op::Push { lane, size, count };
    let fail = |working, failing| Op::Fail { working, failing };
    let story = [
        push(2, 5737, 10),
        push(3, 0, 1),
        fail(12, 2),
        push(2, 7672, 1),
        Op::Read { reader: 0, max_bytes: 0 },
        Op::Sync,
        fail(6, 2),
        Op::Tick,
        fail(0, 0),
        Op::Tick,
        Op::Check,
    ];
    story.into_iter().for_each(|op| world.run(op));
}
