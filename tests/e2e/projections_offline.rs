//! Projections on the command line: listed, verified, rebuilt, given up and resumed, without a server.

use crate::projections::{NAMES, busy_shop, one, settled, write_nonsense};
use crate::support::till::{PHONE, usual_shop};
use crate::support::{Place, Server, eventually};

#[tokio::test]
async fn the_command_line_resumes_what_stopped_and_gives_up_what_was_being_rebuilt() {
    let server = Server::start().await;
    let (shop, _) = usual_shop(&server).await;
    shop.movements(PHONE).await;
    let place = server.stop().await.place;
    place.begin_copy("sales");
    let (code, text) = run(&place, &["projections", "cancel", "shops"]);
    assert!(code == Some(0) && text.contains("nothing is being rebuilt"), "{text}");
    let (code, text) = run(&place, &["projections", "cancel"]);
    assert!(code == Some(0) && text.contains("sales: its rebuild is given up"), "{text}");

    let position = write_nonsense(&place).await;
    let (code, text) = run(&place, &["projections", "resume"]);
    if place.database().is_some() {
        assert!(code == Some(2) && text.contains("ask a node"), "{text}");
        let server = place.serve_unready();
        let admin = server.admin();
        eventually("it stopped", async || (one(&admin, "sales").await["state"] == "faulted").then_some(())).await;
        server.stop().await;
    } else {
        let stops = format!("sales: stops at the event at position {position}");
        assert!(code == Some(1) && text.contains(&stops), "{text}");
        assert!(text.contains(&format!("library: at position {position}")), "{text}");
    }
    let (code, text) = run(&place, &["projections", "list"]);
    assert!(code == Some(0) && text.contains(&format!("stopped at the event at position {position}")), "{text}");
}

fn run(place: &Place, args: &[&str]) -> (Option<i32>, String) {
    let output = place.run(args);
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.code(), text)
}

#[tokio::test]
async fn the_command_line_lists_verifies_and_rebuilds() {
    let server = Server::start().await;
    let (shop, _) = busy_shop(&server, 2).await;
    settled(&shop.admin).await;
    // Beside the running server.
    let place = server.place().clone();
    let (code, text) = run(&place, &["projections", "verify"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(NAMES.iter().all(|name| text.contains(&format!("{name}: "))), "{text}");
    let (code, text) = run(&place, &["projections", "rebuild"]);
    if place.database().is_some() {
        // The node does it.
        assert!(code == Some(0) && NAMES.iter().all(|name| text.contains(&format!("{name}: rebuilt"))), "{text}");
    } else {
        assert!(code == Some(1) && text.contains("POST /api/v1/projections/NAME/rebuild"), "{text}");
    }

    let place = server.stop().await.place;
    let (code, text) = run(&place, &["projections", "list"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(NAMES.iter().all(|name| text.contains(name)) && text.contains("the log's head is "), "{text}");

    place.tamper("stock_ledger", "UPDATE stock SET stock = stock + 1 WHERE article_id = 6");
    place.tamper("sales", "DELETE FROM sales WHERE numero_facture = 'B-1-7'");
    let before = ["sales", "shops"].map(|name| place.copies(name));
    let (code, text) = run(&place, &["projections", "verify"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("stock_ledger: 2 rows differ") && text.contains("sales: 1 rows differ"), "{text}");
    assert!(text.contains("only rebuilt: sales|") && text.contains("\"B-1-7\""), "{text}");
    assert!(text.contains("only served: stock|2|6|101|"), "{text}");
    let (code, text) = run(&place, &["projections", "verify", "library", "shops"]);
    assert!(code == Some(0) && !text.contains("sales"), "{text}");

    let (code, text) = run(&place, &["projections", "rebuild", "stock_ledger", "sales"]);
    assert!(code == Some(0) && text.contains("sales: rebuilt") && text.contains("stock_ledger: rebuilt"), "{text}");
    assert!(place.copies("sales").len() == 1 && place.copies("sales") != before[0]);
    assert_eq!(place.copies("shops"), before[1]);
    let (code, text) = run(&place, &["projections", "verify"]);
    assert_eq!(code, Some(0), "{text}");
    if place.database().is_none() {
        let left: Vec<_> = std::fs::read_dir(place.data()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(".verify")), "{left:?}");
    }
    let (code, text) = run(&place, &["projections", "cancel"]);
    assert!(code == Some(0) && text.contains("nothing is being rebuilt"), "{text}");
    if place.database().is_none() {
        let (code, text) = run(&place, &["projections", "resume"]);
        assert!(code == Some(0) && text.contains("sales: at position "), "{text}");
    }
    let (code, text) = run(&place, &["projections", "rebuild", "nothing"]);
    assert!(code == Some(2) && text.contains("possible values"), "{text}");
    let server = place.serve(&[]).await;
    assert_eq!(shop.on(&server).movements(PHONE).await.len(), 202);
}
