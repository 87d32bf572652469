//! Tables, columns and constraints that were changed by hand or by other programs.

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};

faults! {
    RENAMED_TABLE = Fault {
        title: "A table was renamed",
        symptom: Symptom::Answer { method: "GET", path: "/tasks/", status: 500 },
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    MOVED_TABLE = Fault {
        title: "A table was moved to another schema",
        symptom: Symptom::Answer { method: "GET", path: "/tasks/", status: 500 },
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    VIEW_IN_PLACE = Fault {
        title: "A view is in the place of a table",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    RENAMED_COLUMN = Fault {
        title: "A column was renamed",
        symptom: Symptom::Answer { method: "GET", path: "/tasks/", status: 500 },
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    DROPPED_COLUMN = Fault {
        title: "A column that may be empty was dropped",
        symptom: Symptom::Risk("the labels of session tokens are lost, and no token can be created"),
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    REQUIRED_COLUMN = Fault {
        title: "A column was added that requires a value",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    REQUIRED_DESCRIPTION = Fault {
        title: "A column that may be empty requires a value",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    NARROW_COLUMN = Fault {
        title: "A column is too narrow",
        symptom: Symptom::Risk("titles of more than 3 characters are answered with 500"),
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    SMALL_ID = Fault {
        title: "Ids are integers",
        symptom: Symptom::Answer { method: "GET", path: "/tasks/", status: 500 },
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    NO_DEFAULT_ID = Fault {
        title: "Ids are not generated any more",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    DROPPED_SEQUENCE = Fault {
        title: "The sequence of the ids was dropped",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    OPTIONAL_COLUMN = Fault {
        title: "A required column may be empty",
        symptom: Symptom::Risk("a task without a value cannot be read"),
        check: "database.schema",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    OTHER_DEFAULT = Fault {
        title: "A column has another default",
        symptom: Symptom::Risk("rows of other programs get the wrong priority"),
        check: "database.schema",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    CASE_INSENSITIVE = Fault {
        title: "A column has a collation of its own",
        symptom: Symptom::Risk("hashes of tokens that differ in case only count as the same"),
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    DROPPED_KEY = Fault {
        title: "A primary key was dropped",
        symptom: Symptom::Risk("notifications cannot be saved"),
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FOREIGN_UNIQUE = Fault {
        title: "A unique constraint was added",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 409 },
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FOREIGN_CHECK = Fault {
        title: "A check constraint was added",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 409 },
        check: "database.schema",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    FOREIGN_REFERENCE = Fault {
        title: "A foreign key to a table of others was added",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 409 },
        check: "database.schema",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    REFUSED_DELETE = Fault {
        title: "A table of others refers to tasks",
        symptom: Symptom::Answer { method: "DELETE", path: "/tasks/1", status: 409 },
        check: "database.schema",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    UNCHECKED_KEY = Fault {
        title: "A foreign key was never checked",
        symptom: Symptom::Risk("notifications may refer to tasks that do not exist"),
        check: "database.schema",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    OTHER_ACTION = Fault {
        title: "A foreign key does not delete with its task",
        symptom: Symptom::Risk("deleting a task that has notifications is answered with 500"),
        check: "database.schema",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    UNLOGGED_TABLE = Fault {
        title: "A table is unlogged",
        symptom: Symptom::Risk("all session tokens are lost when the server crashes"),
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    RENAMED_LABEL = Fault {
        title: "A label of the priorities was renamed",
        symptom: Symptom::Risk("urgent tasks are answered as Medium"),
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
}

#[tokio::test]
async fn renamed_table() {
    let mut scene = Scene::postgres_after("ALTER TABLE tasks RENAME TO todos").await;
    scene.proves(&RENAMED_TABLE).await;
}

#[tokio::test]
async fn moved_table() {
    let mut scene =
        Scene::postgres_after("CREATE SCHEMA archive; ALTER TABLE tasks SET SCHEMA archive").await;
    scene.proves(&MOVED_TABLE).await;
}

#[tokio::test]
async fn view_in_place() {
    let mut scene = Scene::postgres_after("ALTER TABLE tasks RENAME TO all_tasks; CREATE VIEW tasks AS SELECT * FROM all_tasks LIMIT 5").await;
    scene.proves(&VIEW_IN_PLACE).await;
}

#[tokio::test]
async fn renamed_column() {
    let mut scene = Scene::postgres_after("ALTER TABLE tasks RENAME COLUMN title TO name").await;
    scene.proves(&RENAMED_COLUMN).await;
}

#[tokio::test]
async fn dropped_column() {
    let mut scene = Scene::postgres_after("ALTER TABLE todoctl_sessions DROP COLUMN label").await;
    scene.proves(&DROPPED_COLUMN).await;
}

#[tokio::test]
async fn required_column() {
    let mut scene = Scene::postgres_after("ALTER TABLE tasks ADD COLUMN board integer NOT NULL DEFAULT 0; ALTER TABLE tasks ALTER COLUMN board DROP DEFAULT").await;
    scene.proves(&REQUIRED_COLUMN).await;
}

#[tokio::test]
async fn required_description() {
    let mut scene = Scene::postgres_after("UPDATE tasks SET description = 'x'; ALTER TABLE tasks ALTER COLUMN description SET NOT NULL").await;
    scene.proves(&REQUIRED_DESCRIPTION).await;
}

#[tokio::test]
async fn narrow_column() {
    let mut scene =
        Scene::postgres_after("ALTER TABLE tasks ALTER COLUMN title TYPE varchar(3)").await;
    scene.proves(&NARROW_COLUMN).await;
}

#[tokio::test]
async fn small_id() {
    let mut scene = Scene::postgres_after("ALTER TABLE tasks ALTER COLUMN id TYPE integer").await;
    scene.proves(&SMALL_ID).await;
}

#[tokio::test]
async fn no_default_id() {
    let mut scene = Scene::postgres_after("ALTER TABLE tasks ALTER COLUMN id DROP DEFAULT").await;
    scene.proves(&NO_DEFAULT_ID).await;
}

#[tokio::test]
async fn dropped_sequence() {
    let mut scene = Scene::postgres_after("DROP SEQUENCE tasks_id_seq CASCADE").await;
    scene.proves(&DROPPED_SEQUENCE).await;
}

#[tokio::test]
async fn optional_column() {
    let mut scene =
        Scene::postgres_after("ALTER TABLE tasks ALTER COLUMN completed DROP NOT NULL").await;
    scene.proves(&OPTIONAL_COLUMN).await;
}

#[tokio::test]
async fn other_default() {
    let mut scene =
        Scene::postgres_after("ALTER TABLE tasks ALTER COLUMN priority SET DEFAULT 'Low'").await;
    scene.proves(&OTHER_DEFAULT).await;
}

#[tokio::test]
async fn case_insensitive() {
    let mut scene = Scene::postgres_after("CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false); ALTER TABLE todoctl_sessions ALTER COLUMN token_hash TYPE text COLLATE loose").await;
    scene.proves(&CASE_INSENSITIVE).await;
}

#[tokio::test]
async fn dropped_key() {
    let mut scene =
        Scene::postgres_after("ALTER TABLE todoctl_unread DROP CONSTRAINT todoctl_unread_pkey")
            .await;
    scene.proves(&DROPPED_KEY).await;
}

#[tokio::test]
async fn foreign_unique() {
    let mut scene =
        Scene::postgres_after("ALTER TABLE tasks ADD CONSTRAINT one_each UNIQUE (user_id)").await;
    scene.proves(&FOREIGN_UNIQUE).await;
}

#[tokio::test]
async fn foreign_check() {
    let mut scene =
        Scene::postgres_after("ALTER TABLE tasks ADD CONSTRAINT not_two CHECK (title <> 'two')")
            .await;
    scene.proves(&FOREIGN_CHECK).await;
}

#[tokio::test]
async fn foreign_reference() {
    let mut scene = Scene::postgres_after("CREATE TABLE people (id varchar(255) PRIMARY KEY); ALTER TABLE tasks ADD CONSTRAINT person FOREIGN KEY (user_id) REFERENCES people NOT VALID").await;
    scene.proves(&FOREIGN_REFERENCE).await;
}

#[tokio::test]
async fn refused_delete() {
    let mut scene = Scene::postgres_after("CREATE TABLE comments (task_id bigint CONSTRAINT of_task REFERENCES tasks); INSERT INTO comments VALUES (1)").await;
    scene.proves(&REFUSED_DELETE).await;
}

#[tokio::test]
async fn unchecked_key() {
    let mut scene = Scene::postgres_after("ALTER TABLE notifications DROP CONSTRAINT notifications_task_id_fkey, ADD CONSTRAINT notifications_task_id_fkey FOREIGN KEY (task_id) REFERENCES tasks(id) ON DELETE CASCADE NOT VALID").await;
    scene.proves(&UNCHECKED_KEY).await;
}

#[tokio::test]
async fn other_action() {
    let mut scene = Scene::postgres_after("ALTER TABLE notifications DROP CONSTRAINT notifications_task_id_fkey, ADD CONSTRAINT notifications_task_id_fkey FOREIGN KEY (task_id) REFERENCES tasks(id)").await;
    scene.proves(&OTHER_ACTION).await;
}

#[tokio::test]
async fn unlogged_table() {
    let mut scene = Scene::postgres_after("ALTER TABLE todoctl_sessions SET UNLOGGED").await;
    scene.proves(&UNLOGGED_TABLE).await;
}

#[tokio::test]
async fn renamed_label() {
    let mut scene =
        Scene::postgres_after("ALTER TYPE prioritylevel RENAME VALUE 'Urgent' TO 'Now'").await;
    scene.proves(&RENAMED_LABEL).await;
}
