-- A user who may read the tables and nothing else, within limits. For a server; the embedded engine has no users.
CREATE SETTINGS PROFILE IF NOT EXISTS onysoft_reading SETTINGS
    readonly = 1, max_execution_time = $query_s, max_memory_usage = $memory_bytes, max_result_bytes = $result_bytes,
    result_overflow_mode = 'throw';

CREATE USER IF NOT EXISTS $user IDENTIFIED WITH sha256_hash BY '$password_sha256' SETTINGS PROFILE 'onysoft_reading';

GRANT SELECT ON $database.* TO $user;
