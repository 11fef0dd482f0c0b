-- A media task's cost is its catalogue price, of what was asked for.
ALTER TABLE charges MODIFY COLUMN basis
    Enum8('unspecified' = 0, 'provider_cost' = 1, 'provider_tokens' = 2, 'estimated' = 3, 'catalogue_price' = 4)
    COMMENT 'where the cost comes from; catalogue_price: a media task''s price, of what was asked for';
