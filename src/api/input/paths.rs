//! The variable segments of paths.

use super::presence::Required;
use super::reader::input;
use super::types::{FileName, RowId};

input! {
    /// A task's path.
    #[derive(Debug)]
    pub(crate) struct TaskPath in Path {
        /// The task's id.
        task_id: Required<RowId>,
    }
}

input! {
    /// A notification's path.
    #[derive(Debug)]
    pub(crate) struct NotificationPath in Path {
        /// The notification's id.
        notification_id: Required<RowId>,
    }
}

input! {
    /// The path of a file of the documentation.
    #[derive(Debug)]
    pub(crate) struct AssetPath in Path {
        /// The name of the file.
        asset: Required<FileName>,
    }
}
