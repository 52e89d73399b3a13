use proptest::prelude::*;

use super::*;

fn next_process(handover: &Handover) -> Handover {
    let fd = handover.fd().try_clone_to_owned().expect("one more descriptor");
    Handover::adopt(fd).expect("it is one of ours")
}

/// Where a process is killed, in a batch.
#[derive(Debug, Clone, Copy)]
enum Kill {
    Never,
    BeforePrepare,
    /// The spool has the events of so many lanes.
    InCommit(usize),
    BeforeConfirm,
    /// Before it has read anything.
    InTakeOver,
}

fn kills() -> impl Strategy<Value = Kill> {
    prop_oneof![
        4 => Just(Kill::Never),
        1 => Just(Kill::BeforePrepare),
        4 => (0..=LANES).prop_map(Kill::InCommit),
        1 => Just(Kill::BeforeConfirm),
        1 => Just(Kill::InTakeOver),
    ]
}

/// The lane of an event.
fn lane(id: u64) -> usize {
    (id * 7 % LANES as u64) as usize
}

/// Processes one after the other: each reads what the kernel has (events are its numbers, made in their order), and is killed.
fn run(batches: &[(u64, Kill)]) -> Vec<u64> {
    let mut handover = Handover::new().expect("it can be made");
    let mut spool: [Vec<u64>; LANES] = Default::default();
    let ends = |spool: &[Vec<u64>; LANES]| spool.each_ref().map(|lane| lane.len() as u64);
    let mut state = State::default();
    let kernel: u64 = batches.iter().map(|(count, _)| count).sum();
    let calm = [(kernel, Kill::Never)];
    for (count, kill) in batches.iter().chain(&calm) {
        let until = (state.positions[0] + count).min(kernel);
        let mut had = state.had.clone();
        let mut new = Vec::new();
        for id in state.positions[0]..until {
            match had.iter().position(|had| *had == id) {
                Some(at) => drop(had.swap_remove(at)),
                None => new.push(id),
            }
        }
        let mut next = ends(&spool);
        let place = |id: u64| {
            let sequence = next[lane(id)];
            next[lane(id)] += 1;
            Told { id, lane: lane(id), sequence, lost: None }
        };
        let told: Vec<_> = new.iter().copied().map(place).collect();
        let after = State { batch: state.batch + 1, positions: [until, 0], had, told, ..State::default() };
        let dead = 'alive: {
            if let Kill::BeforePrepare = kill {
                break 'alive true;
            }
            handover.prepare(&after);
            for (number, entries) in spool.iter_mut().enumerate() {
                if matches!(kill, Kill::InCommit(lanes) if *lanes == number) {
                    break 'alive true;
                }
                entries.extend(new.iter().filter(|id| lane(**id) == number));
            }
            if let Kill::BeforeConfirm | Kill::InCommit(_) = kill {
                break 'alive true;
            }
            handover.confirm();
            false
        };
        if dead || matches!(kill, Kill::InTakeOver) {
            handover = next_process(&handover);
            if let Kill::InTakeOver = kill {
                let _ = handover.take_over(&ends(&spool));
                handover = next_process(&handover);
            }
            state = handover.take_over(&ends(&spool)).unwrap_or_default();
        } else {
            state = after;
        }
    }
    let mut all = spool.concat();
    all.sort_unstable();
    all
}

proptest! {
    #[test]
    fn whenever_it_is_killed_everything_is_told_once(
        batches in prop::collection::vec((0..20u64, kills()), 1..40)
    ) {
        let kernel: u64 = batches.iter().map(|(count, _)| count).sum();
        prop_assert_eq!(run(&batches), (0..kernel).collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_in_it_are_no_state_or_one(bytes in prop::collection::vec(any::<u8>(), 0..300), counts in any::<u64>()) {
        let mut handover = Handover::new().expect("it can be made");
        handover.word(word::COUNTS).store(counts, Ordering::Release);
        for number in 0..PLACES {
            handover.place_mut(number)[..bytes.len()].copy_from_slice(&bytes);
            let (length, checksum) = of(&bytes);
            handover.word(word::PLACES + 2 * number).store(length, Ordering::Release);
            handover.word(word::PLACES + 2 * number + 1).store(checksum, Ordering::Release);
        }
        let mut next = next_process(&handover);
        let _ = next.take_over(&[0; LANES]);
    }
}

#[test]
fn losses_that_the_spool_has_are_not_told_again() {
    let mut handover = Handover::new().expect("it can be made");
    handover.prepare(&State { batch: 1, lost: vec![(0, 5, 10)], ..State::default() });
    handover.confirm();
    let told = |lane, cpu| Told { id: 1, lane, sequence: 0, lost: Some((cpu, 5)) };
    let after =
        State { batch: 2, lost: vec![(0, 5, 30), (1, 5, 7)], told: vec![told(0, 0), told(1, 1)], ..State::default() };
    handover.prepare(&after);
    let state = next_process(&handover).take_over(&[1, 0, 0, 0, 0, 0]).expect("there is one");
    assert_eq!(state.lost, [(0, 5, 30)], "the spool has the first of the two only");
}

#[test]
fn what_is_too_much_is_left_out_and_the_rest_stays() {
    let mut handover = Handover::new().expect("it can be made");
    let open =
        Open { records: vec![1; PLACE], attempts: [true; 4], theirs: false, evidence_told: false, loads: [0; 3] };
    handover.prepare(&State { batch: 1, positions: [8, 16], open: vec![open], ..State::default() });
    handover.confirm();
    let state = next_process(&handover).take_over(&[0; LANES]).expect("there is one");
    assert_eq!((state.positions, state.open), ([8, 16], Vec::new()));
}

#[test]
fn another_file_is_none_of_ours() {
    let short = memfd_create("short", MFdFlags::empty()).expect("it can be made");
    assert_eq!(Handover::adopt(short).err(), Some(Errno::EPROTO));
    let other = memfd_create("other", MFdFlags::empty()).expect("it can be made");
    ftruncate(&other, BYTES.get() as i64).expect("it can grow");
    assert_eq!(Handover::adopt(other).err(), Some(Errno::EPROTO));
    assert!(next_process(&Handover::new().expect("it can be made")).take_over(&[0; LANES]).is_none());
}

#[test]
fn records_come_back_whole() {
    let mut records = Vec::new();
    [&b"one"[..], b"", b"three"].iter().for_each(|record| append(&mut records, record));
    assert_eq!(split(&records).collect::<Vec<_>>(), [&b"one"[..], b"", b"three"]);
    assert_eq!(split(&records[..records.len() - 1]).count(), 2, "the last one is cut");
}
