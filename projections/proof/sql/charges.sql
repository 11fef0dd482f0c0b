-- What the ledger must say of each settled request in a range of positions, field by field.
SELECT
    stream_seq, event_index, request_id, attempt, account_id, parent_id, key_id, model, provider, generation_id,
    toUnixTimestamp64Milli(time) AS time_ms, toInt8(outcome) AS outcome, asked_nano, charge_nano, shortfall_nano,
    parent_asked_nano, parent_charge_nano, parent_shortfall_nano, provider_cost_nano, fx_rate_nano, markup_bps,
    prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens
FROM charges
WHERE stream_seq BETWEEN $first AND $last
