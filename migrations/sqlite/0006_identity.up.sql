-- Which database this is. Copies of the row can be told apart by where they are; see the
-- store's identity.
CREATE TABLE todoctl_identity (
    single INTEGER PRIMARY KEY DEFAULT 1 CHECK (single = 1),
    id TEXT NOT NULL
);

INSERT INTO todoctl_identity (id) SELECT lower(hex(randomblob(16)));
