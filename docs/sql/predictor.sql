-- A role for predict_articles and its runs: gregory_predict. It has the rights of gregory_train, writes predictions, and may change two
-- columns of articles, which follow from predictions. The roles of trainings still change no article. Run this with psql as the owner of
-- the tables, after docs/sql/least-privilege.sql and after every upgrade of GregoryAI. Repeating it does no harm.
--
--   psql -d gregory -f docs/sql/predictor.sql
--
-- Give predict_articles this role in POSTGRES_USER, and no POSTGRES_RUN_USER. The role gets the password in POSTGRES_PREDICT_PASSWORD, if
-- the shell has this variable.

\set ON_ERROR_STOP on
BEGIN;
SET LOCAL lock_timeout = '10s';
SET LOCAL client_min_messages = warning;

DO $$
DECLARE
    optional record;
    sequence regclass;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'gregory_predict') THEN
        CREATE ROLE gregory_predict LOGIN;
    END IF;
    GRANT gregory_train TO gregory_predict;
    GRANT SELECT (id, article_id, subject_id, model_version, probability_score, predicted_relevant, created_date),
        INSERT (article_id, subject_id, model_version, probability_score, predicted_relevant, created_date)
        ON gregory_mlpredictions TO gregory_predict;
    -- An older GregoryAI lacks these columns.
    FOR optional IN SELECT * FROM (VALUES
        ('gregory_mlpredictions', 'algorithm', 'SELECT'), ('gregory_mlpredictions', 'algorithm', 'INSERT'),
        ('subjects', 'auto_predict', 'SELECT'), ('subjects', 'ml_consensus_type', 'SELECT'),
        ('articles', 'ml_score', 'UPDATE'), ('articles', 'relevant', 'UPDATE')
    ) AS wanted (table_name, column_name, permission) LOOP
        IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = optional.table_name::regclass AND attname = optional.column_name
                AND NOT attisdropped)
            -- The oldest GregoryAI has another column `relevant`.
            AND (optional.table_name <> 'articles' OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'articles'::regclass
                AND attname = 'ml_score' AND NOT attisdropped)) THEN
            EXECUTE format('GRANT %s (%I) ON %I TO gregory_predict', optional.permission, optional.column_name, optional.table_name);
        END IF;
    END LOOP;
    FOR sequence IN
        SELECT DISTINCT dependency.refobjid::regclass
        FROM pg_attrdef AS origin
        JOIN pg_depend AS dependency ON dependency.classid = 'pg_attrdef'::regclass AND dependency.objid = origin.oid
        JOIN pg_class AS target ON dependency.refclassid = 'pg_class'::regclass AND target.oid = dependency.refobjid
        WHERE origin.adrelid = 'gregory_mlpredictions'::regclass AND target.relkind = 'S'
    LOOP
        EXECUTE format('GRANT USAGE ON SEQUENCE %s TO gregory_predict', sequence);
    END LOOP;
END
$$;

\getenv predict_password POSTGRES_PREDICT_PASSWORD
\if :{?predict_password}
ALTER ROLE gregory_predict PASSWORD :'predict_password';
\endif
COMMIT;
