DROP TABLE notifications;

DROP TABLE user_api_keys;

DROP TABLE tasks;
