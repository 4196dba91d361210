//! The end: work that runs comes to its own end first, then everything that served it.

use futures::FutureExt;
use futures::future::BoxFuture;

use super::parts::{BACKLOG, Parts, listed};
use super::script::Running;

impl Running for Parts {
    const LEFT: &'static str = "ended";

    fn listed(&self) -> BoxFuture<'static, ()> {
        listed(self.connection.clone()).boxed()
    }

    async fn failed(&mut self) -> String {
        tokio::select! {
            reason = self.supervisor.failed() => reason,
            () = self.public.stopped() => "the public listener ended by itself, which it never should".to_owned(),
            () = self.calls.stopped() => "the listener for functions' calls ended by itself".to_owned(),
        }
    }

    async fn work_ended(&mut self) {
        self.backlog_drain.cancel();
        tokio::join!(self.public.drain(), self.supervisor.until_ended(BACKLOG));
        self.invoker.drained().await;
        self.calls.drain().await;
        self.dispatcher.drain().await;
    }

    /// It leaves nothing behind.
    async fn end(self) {
        let Self {
            public,
            calls,
            dispatcher,
            store,
            sockets,
            lock,
            supervisor,
            backlog,
            stop,
            ..
        } = self;
        // First of all: an accepted invocation whose instance we end here has not failed, it is to be repeated.
        backlog.abort();
        dispatcher.end_all().await;
        tokio::join!(public.end(), calls.end(), sockets.end_lean());
        stop.cancel();
        supervisor.ended().await;
        store.close().await;
        lock.release().await;
    }
}
