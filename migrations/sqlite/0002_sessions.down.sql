DROP TABLE todoctl_sessions;
