-- A user who reads one partner's rows: its own and its customers'. What the house pays providers is not shown. For a
-- server; the embedded engine has no users.
CREATE SETTINGS PROFILE IF NOT EXISTS onysoft_reading SETTINGS
    readonly = 1, max_execution_time = $query_s, max_memory_usage = $memory_bytes, max_result_bytes = $result_bytes,
    result_overflow_mode = 'throw';

CREATE ROLE IF NOT EXISTS onysoft_partner;

-- Where any policy exists a user without one sees no rows: everybody but partners goes on seeing all of them.
CREATE ROW POLICY IF NOT EXISTS everybody_else ON $database.charges, $database.charges_daily, $database.releases,
    $database.credits, $database.tasks, $database.accounts, $database.requests
    FOR SELECT USING 1 TO ALL EXCEPT onysoft_partner;

GRANT SELECT(stream_seq, event_index, time, request_id, account_id, parent_id, key_id, model, outcome, call_end, basis,
    currency, hold_nano, asked_nano, charge_nano, shortfall_nano, parent_currency, parent_hold_nano, parent_asked_nano,
    parent_charge_nano, markup_bps, fx_rate_nano, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens,
    images, quantities) ON $database.charges TO onysoft_partner;
GRANT SELECT(day, account_id, parent_id, key_id, model, call_end, currency, parent_currency, calls, charge_nano,
    shortfall_nano, parent_charge_nano, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    ON $database.charges_daily TO onysoft_partner;
GRANT SELECT(time, request_id, account_id, key_id, model, route, status, code, first_byte_us, duration_us, streamed,
    disconnected) ON $database.requests TO onysoft_partner;
GRANT SELECT ON $database.releases TO onysoft_partner;
GRANT SELECT ON $database.credits TO onysoft_partner;
GRANT SELECT ON $database.tasks TO onysoft_partner;
GRANT SELECT ON $database.accounts TO onysoft_partner;

CREATE USER IF NOT EXISTS $user IDENTIFIED WITH sha256_hash BY '$password_sha256'
    DEFAULT ROLE onysoft_partner SETTINGS PROFILE 'onysoft_reading';
GRANT onysoft_partner TO $user;

CREATE ROW POLICY IF NOT EXISTS $user ON $database.charges, $database.charges_daily, $database.releases,
    $database.credits, $database.tasks, $database.accounts
    FOR SELECT USING account_id = '$account' OR parent_id = '$account' TO $user;

CREATE ROW POLICY IF NOT EXISTS $user ON $database.requests
    FOR SELECT USING account_id IN (SELECT account_id FROM $database.accounts
                                    WHERE account_id = '$account' OR parent_id = '$account') TO $user;
