//! Kinds of faults while a connection is opened.

/// Why a database could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectFault {
    /// The name does not resolve.
    HostNotFound,
    /// Nothing listens there.
    Refused,
    /// No answer in time.
    TimedOut,
    /// The server wants no TLS, the client insists.
    TlsUnsupported,
    /// The server's certificate was not accepted.
    Certificate,
    /// The role or its password is wrong (28P01, 28000).
    Login,
    /// The server has no database of that name (3D000).
    NoSuchDatabase,
    /// Every connection slot is taken (53300).
    TooManyConnections,
    /// The server is starting or waking up (57P03).
    Starting,
    /// The connection was accepted, then closed or answered with nonsense.
    NotPostgres,
    /// A pooler refuses what is sent when a connection begins.
    StartupParameter,
    /// The file is not a SQLite database.
    NotADatabase,
    /// The file is damaged.
    Corrupt,
    /// The file or its directory is missing or may not be opened.
    CannotOpen,
    /// The file or its directory may not be written.
    ReadOnly,
    /// Another process holds the file's lock.
    Busy,
    /// The disk is full.
    DiskFull,
    /// Something else.
    Other,
}
