// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! A list that is being told in parts. It changes when the last part came and its digest is right, not before.

use std::sync::Arc;

use super::error::Failure;
use super::lists::{List, ListError};
use super::message::peer::ListPart;

/// The parts that came so far.
#[derive(Debug, Default)]
pub struct Transfer(Option<List>);

impl Transfer {
    /// Takes a part of what changed in `current`; the new list once it is whole.
    ///
    /// # Errors
    /// [`Failure::Digest`], [`Failure::TooMany`], and [`Failure::Bounds`] for a prefix that no list takes.
    pub fn take(&mut self, current: &Arc<List>, part: &ListPart) -> Result<Option<Arc<List>>, Failure> {
        let mut list = match self.0.take() {
            Some(list) if !part.anew => list,
            _ if part.anew => List::default(),
            _ => current.as_ref().clone(),
        };
        for prefix in &part.removed {
            list.remove(prefix);
        }
        for prefix in &part.added {
            list.add(*prefix).map_err(|error| match error {
                ListError::Full => Failure::TooMany("prefixes"),
                ListError::Scope(_) | ListError::Overlap(_) => Failure::Bounds("prefix"),
            })?;
        }
        match part.digest {
            Some(digest) if digest == list.digest() => Ok(Some(Arc::new(list))),
            Some(_) => Err(Failure::Digest),
            None => {
                self.0 = Some(list);
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lists::LIST_MAX;
    use super::super::message::list_parts;
    use super::*;
    use crate::prefix::Prefix;
    use std::net::Ipv6Addr;

    fn list(from: usize, to: usize) -> Arc<List> {
        let prefix = |n: usize| Prefix::from(Ipv6Addr::from_bits((0xfd00 << 112) | n as u128));
        Arc::new(List::of((from..to).map(prefix)).unwrap())
    }

    #[test]
    fn a_list_changes_when_it_is_whole() {
        for (older, newer) in [(None, list(0, 2000)), (Some(list(0, 2000)), list(1000, 3000)), (None, list(0, 0))] {
            let parts = list_parts(None, older.as_deref(), &newer);
            let current = older.clone().unwrap_or_else(|| list(5000, 5001));
            let mut transfer = Transfer::default();
            for (at, part) in parts.iter().enumerate() {
                let whole = transfer.take(&current, part).unwrap();
                assert_eq!(whole, (at + 1 == parts.len()).then(|| newer.clone()));
            }
        }
    }

    #[test]
    fn what_is_not_as_its_digest_says_is_refused() {
        let mut parts = list_parts(None, None, &list(0, 3));
        parts[0].added.pop();
        assert_eq!(Transfer::default().take(&list(0, 0), &parts[0]), Err(Failure::Digest));
        // Changes of another state than the one that is held.
        let parts = list_parts(None, Some(&list(0, 3)), &list(0, 4));
        assert_eq!(Transfer::default().take(&list(0, 2), &parts[0]), Err(Failure::Digest));
    }

    #[test]
    fn a_list_that_never_ends_is_bounded() {
        let mut transfer = Transfer::default();
        let mut taken = 0;
        for start in (0..).step_by(500) {
            let mut part = list_parts(None, None, &list(start, start + 500)).remove(0);
            part.anew = false;
            part.digest = None;
            match transfer.take(&list(0, 0), &part) {
                Ok(whole) => assert_eq!(whole, None),
                Err(failure) => {
                    assert_eq!(failure, Failure::TooMany("prefixes"));
                    break;
                }
            }
            taken += 500;
        }
        assert!(taken <= LIST_MAX);
    }
}
