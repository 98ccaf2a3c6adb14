//! What the server does by itself, as its operators see it.

use serde_json::{Value, json};

use crate::support::{Caller, Server, eventually};

async fn sweep(caller: &Caller) -> Value {
    let jobs = caller.get("/api/v1/jobs").await.expect(200)["jobs"].clone();
    jobs.as_array().unwrap().iter().find(|job| job["name"] == "idle-sweep").unwrap().clone()
}

#[tokio::test]
async fn the_idle_sweep_is_a_job_whose_runs_can_be_followed() {
    let server = Server::start_with(&["--session-sweep", "200ms"]).await;
    let auditor = server.with_role("auditor");
    let first = eventually("it runs", async || {
        let job = sweep(&auditor).await;
        (!job["last_succeeded_at"].is_null()).then_some(job)
    })
    .await;
    assert_eq!((&first["schedule"], &first["last_outcome"]), (&json!("every 200ms"), &json!("succeeded")));
    assert_eq!((&first["last_error"], &first["consecutive_failures"]), (&Value::Null, &json!(0)));
    eventually("it runs again", async || {
        (sweep(&auditor).await["last_started_at"] != first["last_started_at"]).then_some(())
    })
    .await;
    let metrics = server.stranger().get("/metrics").await.text;
    assert!(metrics.contains("daybook_job_runs_total{job=\"idle-sweep\",outcome=\"succeeded\"}"), "{metrics}");
    assert!(metrics.contains("# HELP daybook_job_runs_total "), "{metrics}");

    for role in ["staff", "analyst", "admin"] {
        server.with_role(role).get("/api/v1/jobs").await.expect(200);
    }
    server.reader().get("/api/v1/jobs").await.problem(403);
    server.stranger().get("/api/v1/jobs").await.problem(401);
}
