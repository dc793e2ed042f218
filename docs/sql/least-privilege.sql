-- A role for gregory-train that may do what its commands and runs do, and nothing else: it reads articles and reviews, and writes run logs
-- and our own tables. Run this as the owner of the tables, after `python manage.py migrate` and after every upgrade; repeating it does no
-- harm. `python manage.py preflight --only database`, as the new role, says whether anything is missing.
--
--   psql -d gregory -f docs/sql/least-privilege.sql
--   psql -d gregory -c '\password gregory_train'

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'gregory_train') THEN
        CREATE ROLE gregory_train LOGIN;
    END IF;
    -- Every role has these two unless somebody took them from all.
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO gregory_train', current_database());
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO gregory_train', current_schema());
END
$$;

GRANT SELECT ON gregory_team, subjects, articles, articles_subjects, gregory_articlesubjectrelevance TO gregory_train;
GRANT SELECT, INSERT, UPDATE ON gregory_predictionrunlog TO gregory_train;
GRANT SELECT, INSERT, UPDATE ON gregory_runs_trainingrun, gregory_runs_algorithmrun, gregory_runs_runevent TO gregory_train;
-- For preflight, which says whether a migration is missing.
GRANT SELECT ON django_migrations TO gregory_train;

-- Identity columns need nothing more. An older database takes its ids from a sequence, under whatever name.
DO $$
DECLARE
    sequence regclass;
BEGIN
    FOR sequence IN
        SELECT DISTINCT dependency.refobjid::regclass
        FROM pg_attrdef AS origin
        JOIN pg_depend AS dependency ON dependency.classid = 'pg_attrdef'::regclass AND dependency.objid = origin.oid
        JOIN pg_class AS target ON dependency.refclassid = 'pg_class'::regclass AND target.oid = dependency.refobjid
        WHERE origin.adrelid = 'gregory_predictionrunlog'::regclass AND target.relkind = 'S'
    LOOP
        EXECUTE format('GRANT USAGE ON SEQUENCE %s TO gregory_train', sequence);
    END LOOP;
END
$$;
