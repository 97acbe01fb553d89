-- A gap (rule 5): a stock event that did not follow the one before. While `raise_held_since` is set the listing's number is not raised:
-- nobody knows what its marketplace shows. `gap_read_at` is when it was read last because of a gap; not more often than once in 30 s.
ALTER TABLE marketplace_products ADD COLUMN raise_held_since BIGINT;
ALTER TABLE marketplace_products ADD COLUMN gap_read_at BIGINT;
