//! Resources and watches over HTTP.

use super::{problem, say, with_node};
use crate::control::resources::WatchLine;
use crate::control::{NodeState, ProblemKind};

#[tokio::test]
async fn a_watch_begins_with_a_bookmark_leaves_out_other_kinds_and_ends_with_its_reason() {
    with_node(NodeState::Ready, async |client, _| {
        let mut lines = Vec::new();
        let kinds = ["nodes".to_owned()];
        let ended = client.watch(Some(3), &kinds, |line| {
            lines.push(line);
            std::ops::ControlFlow::Continue(())
        });
        assert_eq!(problem(ended.await).message, "the node stops");
        match lines.as_slice() {
            [WatchLine::Bookmark { bookmark: 3 }, WatchLine::Change(change)] => {
                assert_eq!((change.revision, change.kind.as_str(), change.name.as_str()), (4, "nodes", "n4"));
            }
            other => panic!("{other:?}"),
        }
        let unknown = client.watch(None, &["planets".to_owned()], |_| std::ops::ControlFlow::Continue(())).await;
        assert_eq!(problem(unknown).code, "BL-API-013");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_resource_or_comes_in_another_way_is_refused_by_name() {
    with_node(NodeState::Ready, async |client, _| {
        assert_eq!(client.kinds().await.unwrap().len(), cluster::kinds().len());
        assert_eq!(problem(client.resources("planets", None, 10).await).code, "BL-API-013");
        assert_eq!(problem(client.resources("nodes", None, 10).await).message, "asked for 10 nodes");
        let gone = problem(client.resource("nodes", "box9").await);
        assert_eq!((gone.kind, gone.code.as_str()), (ProblemKind::NotFound, "BL-API-014"));
        let (status, body) = say(&client, "POST /v1/resources/nodes").await;
        assert_eq!(status, 400, "{body}");
    })
    .await;
}
