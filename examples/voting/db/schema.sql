-- One row per browser. cast_at (microseconds, from the page that took the
-- vote) decides which of a browser's votes is its last, in whatever order and
-- however often they arrive.
CREATE TABLE votes (
    voter   text PRIMARY KEY,
    choice  text NOT NULL CHECK (choice IN ('tea', 'coffee')),
    cast_at bigint NOT NULL
);

-- Whoever shows the result listens here instead of asking again and again.
CREATE FUNCTION tell_votes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY votes;
    RETURN NULL;
END $$;

CREATE TRIGGER votes_changed AFTER INSERT OR UPDATE OR DELETE ON votes
    FOR EACH STATEMENT EXECUTE FUNCTION tell_votes();
