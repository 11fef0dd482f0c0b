-- What the ledger says. Every row names the message (stream_seq) and the event in it (event_index) that it comes from;
-- rows of one range of messages arrive in one insert, once. Money is Int64 nano-units (10^-9) of the named currency.
--
-- Partitions are months: retention drops whole ones, and a question about a month reads nothing else.
-- Order keys begin with the account, because statements, usage and support ask about one customer over time; such a
-- question reads a few granules. Questions over all customers read the roll-ups of 0003, or whole columns of a month.

CREATE TABLE IF NOT EXISTS home
(
    home_id String COMMENT 'identity of these tables; the sink claims its ranges under it',
    created DateTime64(3, 'UTC') COMMENT 'when the tables were made'
)
ENGINE = $MergeTree
ORDER BY home_id
COMMENT 'One row: which set of tables this is';

CREATE TABLE IF NOT EXISTS sink_ranges
(
    stream LowCardinality(String) COMMENT 'LEDGER or USAGE',
    first UInt64 COMMENT 'first stream position of the range',
    last UInt64 COMMENT 'last stream position of the range; every row up to here is in the tables',
    rows UInt64 COMMENT 'rows that the range gave, over all tables of its stream',
    last_time DateTime64(3, 'UTC') COMMENT 'when the stream took the last message of the range',
    inserted DateTime64(3, 'UTC') COMMENT 'when the range was first sent, the sink''s clock'
)
ENGINE = $MergeTree
ORDER BY (stream, first)
SETTINGS $exactly_once
COMMENT 'Ranges of stream positions that are whole in the tables: contiguous, without overlap';

CREATE TABLE IF NOT EXISTS charges
(
    stream_seq UInt64 COMMENT 'LEDGER position of the settlement' CODEC(Delta, ZSTD),
    event_index UInt16 COMMENT 'which event of that message, from 0',
    time DateTime64(3, 'UTC') COMMENT 'log time of the settlement' CODEC(Delta, ZSTD),
    request_id String COMMENT 'req_ + 24 hex digits; once in this table' CODEC(ZSTD),
    attempt UInt8 COMMENT 'the attempt that was settled',
    account_id String COMMENT 'who used it and paid: acc_ + 24 hex digits',
    parent_id LowCardinality(String) COMMENT 'the account above (partner, organisation); empty: none',
    key_id LowCardinality(String) COMMENT 'the API key that was used: key_ + 24 hex digits',
    model LowCardinality(String) COMMENT 'catalogue id of the model',
    provider LowCardinality(String) COMMENT 'who served it',
    generation_id String COMMENT 'the provider''s name for what it generated' CODEC(ZSTD),
    outcome Enum8('settled' = 30, 'settled_late' = 31) COMMENT 'settled_late: after the hold had expired',
    call_end Enum8('unspecified' = 0, 'completed' = 1, 'cancelled' = 2, 'cut' = 3, 'broken' = 4)
        COMMENT 'completed; cancelled: the client left; cut: by the gateway; broken: by the provider',
    basis Enum8('unspecified' = 0, 'provider_cost' = 1, 'provider_tokens' = 2, 'estimated' = 3)
        COMMENT 'where the cost comes from',
    currency LowCardinality(String) COMMENT 'the account''s currency, of hold, asked, charge and shortfall',
    hold_nano Int64 COMMENT 'set aside for the call when it was settled; 0 when the hold had expired' CODEC(T64, ZSTD),
    asked_nano Int64 COMMENT 'what the call costs at the account''s price' CODEC(T64, ZSTD),
    charge_nano Int64 COMMENT 'what the account paid: never more than its hold and what was free' CODEC(T64, ZSTD),
    shortfall_nano Int64 COMMENT 'asked_nano - charge_nano: the house''s loss' CODEC(T64, ZSTD),
    parent_currency LowCardinality(String) COMMENT 'a partner customer''s call: the partner''s currency; else empty',
    parent_hold_nano Int64 COMMENT 'held at the partner' CODEC(T64, ZSTD),
    parent_asked_nano Int64 COMMENT 'what the call costs at the partner''s price' CODEC(T64, ZSTD),
    parent_charge_nano Int64 COMMENT 'what the partner paid' CODEC(T64, ZSTD),
    parent_shortfall_nano Int64 COMMENT 'parent_asked_nano - parent_charge_nano: the house''s loss' CODEC(T64, ZSTD),
    provider_cost_nano Int64 COMMENT 'what the provider charges the house, 10^-9 USD, rounded up' CODEC(T64, ZSTD),
    fx_rate_nano Int64 COMMENT 'account currency for one USD, times 10^9' CODEC(T64, ZSTD),
    markup_bps UInt32 COMMENT 'markup in basis points: 5000 is 50 %',
    parent_fx_rate_nano Int64 COMMENT 'partner''s currency for one USD, times 10^9' CODEC(T64, ZSTD),
    parent_markup_bps UInt32 COMMENT 'the partner''s markup in basis points',
    price_version LowCardinality(String) COMMENT 'version of the model''s price, 16 hex digits; see model_prices',
    prompt_tokens UInt32 COMMENT 'tokens read' CODEC(T64, ZSTD),
    completion_tokens UInt32 COMMENT 'tokens written, reasoning included' CODEC(T64, ZSTD),
    cached_tokens UInt32 COMMENT 'of prompt_tokens: read from the provider''s cache' CODEC(T64, ZSTD),
    reasoning_tokens UInt32 COMMENT 'of completion_tokens: spent on reasoning' CODEC(T64, ZSTD),
    images UInt32 COMMENT 'input images, where the price counts them' CODEC(T64, ZSTD),
    quantities LowCardinality(String) COMMENT 'media: JSON of the price''s conditions and quantities',
    counted_by LowCardinality(String) COMMENT 'how the tokens of an estimate were counted',
    provider_calls UInt16 COMMENT 'calls made to providers, failed ones included',
    opened_seq UInt64 COMMENT 'LEDGER position that admitted the attempt; 0: not known' CODEC(Delta, ZSTD),
    opened_time DateTime64(3, 'UTC') COMMENT 'log time of that position' CODEC(Delta, ZSTD),
    INDEX by_request request_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_position stream_seq TYPE minmax GRANULARITY 1
)
ENGINE = $MergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (account_id, time, stream_seq, event_index)
SETTINGS $exactly_once
COMMENT 'One row for each settled request: what was charged, to whom, for what. Exact';

CREATE TABLE IF NOT EXISTS releases
(
    stream_seq UInt64 COMMENT 'LEDGER position of the release' CODEC(Delta, ZSTD),
    event_index UInt16 COMMENT 'which event of that message, from 0',
    time DateTime64(3, 'UTC') COMMENT 'log time of the release' CODEC(Delta, ZSTD),
    request_id String COMMENT 'req_ + 24 hex digits' CODEC(ZSTD),
    attempt UInt8 COMMENT 'the attempt that ended; a later one may have been settled',
    account_id String COMMENT 'whose call',
    parent_id LowCardinality(String) COMMENT 'the account above; empty: none',
    key_id LowCardinality(String) COMMENT 'the API key that was used',
    model LowCardinality(String) COMMENT 'catalogue id of the model',
    reason LowCardinality(String) COMMENT 'why nothing was charged: provider_refused, provider_failed, client_left …',
    currency LowCardinality(String) COMMENT 'the account''s currency',
    hold_nano Int64 COMMENT 'given back to the account' CODEC(T64, ZSTD),
    parent_hold_nano Int64 COMMENT 'given back to the partner' CODEC(T64, ZSTD),
    provider_calls UInt16 COMMENT 'calls made to providers',
    opened_seq UInt64 COMMENT 'LEDGER position that admitted the attempt; 0: not known' CODEC(Delta, ZSTD),
    opened_time DateTime64(3, 'UTC') COMMENT 'log time of that position' CODEC(Delta, ZSTD)
)
ENGINE = $MergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (account_id, time, stream_seq, event_index)
SETTINGS $exactly_once
COMMENT 'Attempts that ended without a charge: the hold was given back';

CREATE TABLE IF NOT EXISTS losses
(
    stream_seq UInt64 COMMENT 'LEDGER position of the settlement',
    event_index UInt16 COMMENT 'which event of that message, from 0',
    time DateTime64(3, 'UTC') COMMENT 'log time',
    request_id String COMMENT 'req_ + 24 hex digits; may have been charged under another attempt',
    attempt UInt8 COMMENT 'the attempt that could not be settled',
    provider LowCardinality(String) COMMENT 'who served it',
    generation_id String COMMENT 'the provider''s name for what it generated',
    asked_nano Int64 COMMENT 'what the account would have paid',
    provider_cost_nano Int64 COMMENT 'what the provider charges the house, 10^-9 USD, rounded up',
    prompt_tokens UInt32 COMMENT 'tokens read',
    completion_tokens UInt32 COMMENT 'tokens written',
    reason LowCardinality(String) COMMENT 'the fold''s word: not_open, invalid'
)
ENGINE = $MergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (time, stream_seq, event_index)
SETTINGS $exactly_once
COMMENT 'Settlements that came too late to charge anyone, such as those of superseded attempts: the house''s loss';

CREATE TABLE IF NOT EXISTS credits
(
    stream_seq UInt64 COMMENT 'LEDGER position',
    event_index UInt16 COMMENT 'which event of that message, from 0',
    leg UInt8 COMMENT '0; of a move 0 is the giving and 1 the receiving side',
    time DateTime64(3, 'UTC') COMMENT 'log time',
    account_id String COMMENT 'whose balance changed',
    parent_id LowCardinality(String) COMMENT 'the account above; empty: none',
    kind Enum8('added' = 1, 'reversed' = 2, 'moved_out' = 3, 'moved_in' = 4) COMMENT 'what happened',
    currency LowCardinality(String) COMMENT 'the account''s currency',
    asked_nano Int64 COMMENT 'the amount that the event names, positive',
    amount_nano Int64 COMMENT 'what it changed the balance by: negative for reversed and moved_out',
    other_account_id String COMMENT 'the other side of a move; else empty',
    reference String COMMENT 'what this money is; counts once for each account',
    actor LowCardinality(String) COMMENT 'who did it, as an id; empty: the gateway itself'
)
ENGINE = $MergeTree
PARTITION BY toYear(time)
ORDER BY (account_id, time, stream_seq, event_index, leg)
SETTINGS $exactly_once
COMMENT 'Money that came, went back or moved between accounts of one billing root; duplicates and refusals are not here';

CREATE TABLE IF NOT EXISTS tasks
(
    stream_seq UInt64 COMMENT 'LEDGER position of the submission',
    event_index UInt16 COMMENT 'which event of that message, from 0',
    time DateTime64(3, 'UTC') COMMENT 'log time at which the provider had taken the task',
    request_id String COMMENT 'req_ + 24 hex digits; its end is in charges or releases',
    attempt UInt8 COMMENT 'the attempt that was submitted',
    account_id String COMMENT 'whose task',
    parent_id LowCardinality(String) COMMENT 'the account above; empty: none',
    key_id LowCardinality(String) COMMENT 'the API key that was used',
    model LowCardinality(String) COMMENT 'catalogue id of the model',
    provider LowCardinality(String) COMMENT 'who makes it',
    provider_task_id String COMMENT 'the provider''s name for the task',
    lease_ms UInt64 COMMENT 'how long the hold stays without news',
    currency LowCardinality(String) COMMENT 'the account''s currency',
    hold_nano Int64 COMMENT 'held for it',
    opened_time DateTime64(3, 'UTC') COMMENT 'log time at which the attempt was admitted'
)
ENGINE = $MergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (account_id, time, stream_seq, event_index)
SETTINGS $exactly_once
COMMENT 'Media tasks that a provider has taken';

CREATE TABLE IF NOT EXISTS accounts
(
    stream_seq UInt64 COMMENT 'LEDGER position that opened it',
    event_index UInt16 COMMENT 'which event of that message, from 0',
    time DateTime64(3, 'UTC') COMMENT 'log time at which it was opened',
    account_id String COMMENT 'acc_ + 24 hex digits',
    parent_id String COMMENT 'the account above; empty: a billing root',
    kind LowCardinality(String) COMMENT 'user, project, partner, partner_customer, organisation, partner_project',
    currency LowCardinality(String) COMMENT 'TRY or USD',
    markup_bps UInt32 COMMENT 'markup it was opened with, in basis points'
)
ENGINE = $MergeTree
ORDER BY account_id
SETTINGS $exactly_once
COMMENT 'Accounts as they were opened; what changed later is in changes';

CREATE TABLE IF NOT EXISTS fx_rates
(
    stream_seq UInt64 COMMENT 'LEDGER position',
    event_index UInt16 COMMENT 'which event of that message, from 0',
    time DateTime64(3, 'UTC') COMMENT 'log time from which it held',
    base LowCardinality(String) COMMENT 'the currency that is priced',
    quote LowCardinality(String) COMMENT 'the currency of the rate',
    rate_nano Int64 COMMENT 'units of quote for one unit of base, times 10^9',
    source LowCardinality(String) COMMENT 'manual, tcmb …',
    reference String COMMENT 'such as the bulletin''s day'
)
ENGINE = $MergeTree
ORDER BY (base, quote, time, stream_seq, event_index)
SETTINGS $exactly_once
COMMENT 'Exchange rates, from when on each held';

CREATE TABLE IF NOT EXISTS model_prices
(
    stream_seq UInt64 COMMENT 'LEDGER position',
    event_index UInt16 COMMENT 'which event of that message, from 0',
    time DateTime64(3, 'UTC') COMMENT 'log time from which this entry held',
    model String COMMENT 'catalogue id',
    kind LowCardinality(String) COMMENT 'chat, image, video, audio, voice, music',
    name String COMMENT 'what people call it',
    price_version String COMMENT '16 hex digits; charges name it',
    price String COMMENT 'JSON of decimals, USD' CODEC(ZSTD)
)
ENGINE = $MergeTree
ORDER BY (model, time, stream_seq, event_index)
SETTINGS $exactly_once
COMMENT 'Every version of every catalogue entry and its price';

CREATE TABLE IF NOT EXISTS changes
(
    stream_seq UInt64 COMMENT 'LEDGER position',
    event_index UInt16 COMMENT 'which event of that message, from 0',
    time DateTime64(3, 'UTC') COMMENT 'log time',
    event LowCardinality(String) COMMENT 'account_suspended, key_revoked, limit_set, markup_set …',
    subject String COMMENT 'id of what changed: an account, a key, a model',
    actor LowCardinality(String) COMMENT 'who did it, as an id; empty: the gateway itself',
    outcome LowCardinality(String) COMMENT 'the fold''s word: applied, exists, invalid …',
    details String COMMENT 'the whole event as JSON, without key hashes' CODEC(ZSTD)
)
ENGINE = $MergeTree
PARTITION BY toYear(time)
ORDER BY (event, time, stream_seq, event_index)
SETTINGS $exactly_once
COMMENT 'Everything in the ledger that is not a call or a checkpoint: who changed what, when';
