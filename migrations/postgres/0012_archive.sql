-- A marketplace that was archived and is brought back: `restored_as` is the status it will have once every listing of it is worked
-- out anew. Until then it is paused, so that no number from before it was archived leaves.
ALTER TABLE marketplaces ADD COLUMN restored_as TEXT CHECK (restored_as IN ('active', 'paused'));
