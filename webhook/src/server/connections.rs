//! The connections that are open. When there are too many, the one that has been idle for longest gives
//! way: whoever opens many and says nothing, or says it slowly, keeps nobody else out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::Notify, time::Instant};

/// Every open connection.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    /// How many of its requests are being answered.
    requests: usize,
    idle_since: Instant,
    leave: Arc<Notify>,
}

/// The place of one connection; dropping it makes room.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    id: u64,
    leave: Arc<Notify>,
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Busy {
    place: Arc<Place>,
}

impl Connections {
    /// Room for so many.
    pub(super) fn new(most: usize) -> Arc<Self> {
        let open = Mutex::default();
        Arc::new(Self { most, open })
    }

    /// A place for one more; none if each of the others has a request that is being answered.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.lock();
        if open.connections.len() >= self.most {
            let idle = open.connections.iter();
            let idle = idle.filter(|(_, connection)| connection.requests == 0);
            let longest = idle.min_by_key(|(_, connection)| connection.idle_since);
            let id = *longest?.0;
            open.connections.remove(&id)?.leave.notify_one();
        }
        let (id, leave) = (open.next, Arc::default());
        open.next += 1;
        let connection = Connection {
            requests: 0,
            idle_since: Instant::now(),
            leave: Arc::clone(&leave),
        };
        open.connections.insert(id, connection);
        Some(Place {
            connections: Arc::clone(self),
            id,
            leave,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Ends when the connection has to give way.
    pub(super) async fn lost(&self) {
        self.leave.notified().await;
    }

    /// A request has come.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        if let Some(connection) = self.connections.lock().connections.get_mut(&self.id) {
            connection.requests += 1;
        }
        Busy {
            place: Arc::clone(self),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().connections.remove(&self.id);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Place {
            connections, id, ..
        } = &*self.place;
        if let Some(connection) = connections.lock().connections.get_mut(id) {
            connection.requests -= 1;
            connection.idle_since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::time::advance;

    use super::*;

    async fn places(connections: &Arc<Connections>, count: usize) -> Vec<Arc<Place>> {
        let mut places = Vec::new();
        for _ in 0..count {
            places.push(Arc::new(connections.enter().unwrap()));
            advance(Duration::from_secs(1)).await;
        }
        places
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_one_gives_way() {
        let connections = Connections::new(3);
        let places = places(&connections, 3).await;
        // The first is used once more, and the second at this moment.
        drop(places[0].busy());
        let _busy = places[1].busy();
        advance(Duration::from_secs(1)).await;
        let _fourth = connections.enter().unwrap();
        let lost: Vec<_> = places
            .iter()
            .map(|place| place.lost().now_or_never())
            .collect();
        assert_eq!(lost, [None, None, Some(())]);
        let _fifth = connections.enter().unwrap();
        assert_eq!(places[0].lost().now_or_never(), Some(()));
        assert_eq!(places[1].lost().now_or_never(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn busy_ones_stay_and_closed_ones_make_room() {
        let connections = Connections::new(2);
        let mut places = places(&connections, 2).await;
        let busy: Vec<_> = places.iter().map(Place::busy).collect();
        assert!(connections.enter().is_none());
        drop(busy);
        places.pop();
        let third = connections.enter();
        assert!(third.is_some());
        assert_eq!(places[0].lost().now_or_never(), None);
    }
}
