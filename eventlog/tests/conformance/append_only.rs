//! 6. The store itself refuses to change or delete an event.

use super::{Engine, Tampering, append_any, event, everything, opened};

pub async fn the_store_refuses_to_change_or_delete_what_was_written<E: Engine>() {
    let (place, log) = opened::<E>().await;
    append_any(&log, "reader-1", vec![event("Started", 1), event("Ended", 2)]).await;
    let before = everything(&log).await;

    for tampering in Tampering::ALL {
        let refusal = place.tamper(tampering).await.expect_err(&format!("{tampering:?} went through"));
        assert!(refusal.contains("append-only"), "{tampering:?} failed for another reason: {refusal}");
    }

    assert_eq!(everything(&log).await, before);
    append_any(&log, "reader-1", vec![event("Started", 3)]).await;
    log.close().await;
    assert_eq!(everything(&place.open().await).await[..2], before);
}
