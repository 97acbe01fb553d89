-- Tables of rules come in like those of products and listings.
ALTER TABLE imports DROP CONSTRAINT imports_kind_check;
ALTER TABLE imports ADD CONSTRAINT imports_kind_check CHECK (kind IN ('products', 'listings', 'rules'));
