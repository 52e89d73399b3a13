//! Attaching for a process that may not do that: the one moment that needs root.

use std::{io, os::fd::AsFd as _};

use super::{
    SensorError, Settings,
    generation::{self, Generation},
    marker::Marker,
};
use crate::systemd::{self, Holder, Store};

/// Attaches everything, for a process that comes after this one and may not do that, unless it is there already as it should be.
///
/// # Errors
/// As [`Sensor::open`](super::Sensor::open); and where there is no systemd that would keep it.
pub fn attach(settings: &Settings, store: &Store) -> Result<(), SensorError> {
    let (marker, made_of) = (Marker::find(), generation::made_of(settings));
    if !store.is_there() {
        return Err(SensorError::NoStore);
    }
    if let Err(error) = take_over(&marker, store) {
        tracing::warn!(%error, "what kmodtrail-early.service has attached to the kernel can't be taken over, and what it has seen is lost");
    }
    let there = marker.read();
    if there.as_ref() != Some(&made_of) {
        let generation = generation::attach(settings, made_of.clone(), store)?;
        if generation.handover.is_none() {
            return Err(SensorError::NoStore);
        }
        marker.write(&made_of, generation.map().unwrap_or_default())?;
    }
    Ok(())
}

/// Attaches everything before the unit is started, and keeps it until [`attach`] comes. `ready`: is called when it is attached.
///
/// # Errors
/// As [`Sensor::open`](super::Sensor::open); and where nobody can come.
pub fn hold(settings: &Settings, ready: impl FnOnce()) -> Result<(), SensorError> {
    let store = Store::own();
    let holder = Holder::new().map_err(|source| SensorError::Holder { source })?;
    let generation = generation::attach(settings, generation::made_of(settings), &store)?;
    drop(generation);
    ready();
    holder.hand_over(&store.into_kept()).map_err(|source| SensorError::Holder { source })
}

/// Has the store keep what a process of [`hold`] has kept so far, if there is one.
fn take_over(marker: &Marker, store: &Store) -> io::Result<()> {
    let Some(mut taken) = systemd::take()? else { return Ok(()) };
    for (name, descriptor) in &taken.descriptors {
        store.keep(name, &[descriptor.as_fd()])?;
    }
    store.barrier()?;
    let parts = std::mem::take(&mut taken.descriptors);
    let found = Generation::find(&mut Store::with(parts), "");
    if let Some((generation, map)) = found.others.last().and_then(|generation| Some((generation, generation.map()?))) {
        marker.write(generation.made_of(), map).map_err(io::Error::other)?;
    }
    taken.confirm()
}
