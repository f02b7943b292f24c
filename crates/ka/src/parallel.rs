//! Long lists in parts, on all processors.

use std::sync::{Mutex, PoisonError};
use std::thread;

/// Hands the list to `task` in parts of so many items, and returns what that returns, in order. The parts are worked on
/// side by side, by as many threads as there are processors.
pub fn in_parts<I: Send, T: Send>(
    items: &mut [I],
    size: usize,
    task: impl Fn(&mut [I]) -> T + Sync,
) -> Vec<T> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = processors.min(items.len().div_ceil(size.max(1)));
    let parts = Mutex::new(items.chunks_mut(size.max(1)).enumerate());
    let done = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = parts.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((number, part)) = next else { return };
            let result = task(part);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // Without the thread it takes longer.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|&(number, _)| number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::in_parts;

    #[test]
    fn every_item_once_and_in_order() {
        for length in [0, 1, 99, 100, 101, 100_000] {
            let mut numbers: Vec<usize> = (0..length).collect();
            let parts = in_parts(&mut numbers, 100, |part| {
                part.iter_mut().for_each(|n| *n += 1);
                part.to_vec()
            });
            assert_eq!(parts.concat(), (1..=length).collect::<Vec<_>>());
        }
    }
}
