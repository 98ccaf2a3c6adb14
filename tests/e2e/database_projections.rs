//! Read models in a database, from the command line.

use crate::log_export::{complaint, output_of};
use crate::support::database::Database;
use crate::support::world;

#[tokio::test]
async fn read_models_in_a_database_are_looked_at_and_built_anew_with_and_without_a_node() {
    let Some(database) = Database::fresh() else { return };
    let place = database.place();
    let server = place.serve(&[]).await;
    world::populate(&server).await;
    for _node in ["keeps them", "does not run"] {
        let rebuilt = output_of(&place.run(&["projections", "rebuild", "library", "sales"]));
        assert!(rebuilt.contains("library: rebuilt") && rebuilt.contains("sales: rebuilt"), "{rebuilt}");
        let verified = output_of(&place.run(&["projections", "verify"]));
        assert!(verified.contains("library: 4 rows are what the log says"), "{verified}");
        assert!(output_of(&place.run(&["projections", "list"])).contains("follows the log"));
        assert!(output_of(&place.run(&["projections", "cancel"])).contains("nothing is being rebuilt"));
        server.signal(rustix::process::Signal::TERM);
    }
    server.stopped().await;
    let sql = "UPDATE daybook_models.books SET title = 'Another' WHERE title LIKE '%quoted%'";
    database.sql(sql);
    let output = place.run(&["projections", "verify", "library"]);
    assert!(complaint(&output, 1).contains("daybook projections rebuild"), "{output:?}");
    output_of(&place.run(&["projections", "rebuild", "library"]));
    output_of(&place.run(&["projections", "verify", "library"]));
    assert!(complaint(&place.run(&["projections", "resume"]), 2).contains("ask a node"));
}
