-- Tables of counts come in like those of products, listings and rules.
ALTER TABLE imports DROP CONSTRAINT imports_kind_check;
ALTER TABLE imports ADD CONSTRAINT imports_kind_check CHECK (kind IN ('products', 'listings', 'rules', 'counts'));
