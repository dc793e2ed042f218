-- Two roles that may do what they need, and nothing else: gregory_train for the commands of the operator, gregory_run for the processes
-- of runs. Run this with psql as the owner of the tables, after `python manage.py migrate` and after every upgrade. Repeating it does no
-- harm. It stops at its first error, and then nothing has changed. docs/decisions/0024-database-roles.md has the reasons.
--
--   psql -d gregory -f docs/sql/least-privilege.sql
--
-- The roles get the passwords in POSTGRES_TRAIN_PASSWORD and POSTGRES_RUN_PASSWORD, if the shell has these variables.
-- `python manage.py preflight --only database`, as the new roles, says whether anything is missing.

\set ON_ERROR_STOP on
BEGIN;
-- The changes need a lock of each table for a moment. A run that holds one must not make GregoryAI wait.
SET LOCAL lock_timeout = '10s';
SET LOCAL client_min_messages = warning;

DO $$
DECLARE
    role_name text;
    sequence regclass;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['gregory_train', 'gregory_run'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', role_name);
        END IF;
        -- Every role has these two unless somebody took them from all.
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role_name);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), role_name);
    END LOOP;
    -- Identity columns need nothing more. An older database takes its ids from a sequence, under whatever name.
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

-- An earlier release of this file granted more.
REVOKE ALL ON gregory_team, subjects, articles, articles_subjects, gregory_articlesubjectrelevance, gregory_predictionrunlog,
    gregory_runs_trainingrun, gregory_runs_algorithmrun, gregory_runs_runevent, gregory_runs_operatoraction, gregory_data_importedarticle, django_migrations FROM gregory_train, gregory_run;

-- Both roles: articles and their reviews, the rows of trainings, and for preflight the records of migrations.
GRANT SELECT (article_id, title, summary, discovery_date) ON articles TO gregory_train, gregory_run;
GRANT SELECT (articles_id, subject_id) ON articles_subjects TO gregory_train, gregory_run;
GRANT SELECT (id, article_id, subject_id, is_relevant) ON gregory_articlesubjectrelevance TO gregory_train, gregory_run;
GRANT SELECT ON gregory_predictionrunlog, gregory_runs_trainingrun, gregory_runs_algorithmrun TO gregory_train, gregory_run;
GRANT SELECT ON django_migrations TO gregory_train, gregory_run;
GRANT UPDATE (model_version, run_started, run_finished, success, error_message) ON gregory_predictionrunlog TO gregory_train, gregory_run;
GRANT UPDATE (stage, progress, reason, warnings, metrics, evaluation, artifact_path, artifact_digest, resources, data, compute)
    ON gregory_runs_algorithmrun TO gregory_train, gregory_run;
GRANT INSERT (run_id, at, kind, message) ON gregory_runs_runevent TO gregory_train, gregory_run;

-- gregory_train: it plans runs, opens, submits, observes, retries, resumes, cancels and closes them. It also suffices for the runs, if
-- they have no role of their own.
GRANT SELECT (id, slug) ON gregory_team TO gregory_train;
DO $$
BEGIN
    -- Only a newer GregoryAI deactivates teams.
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'gregory_team'::regclass AND attname = 'is_active' AND NOT attisdropped) THEN
        GRANT SELECT (is_active) ON gregory_team TO gregory_train;
    END IF;
END
$$;
GRANT SELECT (id, subject_name, subject_slug, team_id) ON subjects TO gregory_train;
GRANT INSERT (team_id, subject_id, model_version, algorithm, run_type, run_started, run_finished, success, triggered_by, error_message)
    ON gregory_predictionrunlog TO gregory_train;
GRANT INSERT ON gregory_runs_trainingrun TO gregory_train;
GRANT UPDATE (attempt, attempt_token, retries, spec, state, reason, detail, host, external_name, external_uid, image_digest, exit_code,
    queued_at, submitted_at, started_at, heartbeat_at, progress_at, finished_at, log_tail, node, waiting_for, unknown_since, missing_since,
    claim_key, cancelled_by) ON gregory_runs_trainingrun TO gregory_train;
GRANT INSERT (run_id, run_log_id, position, stage, progress, reason, warnings, metrics, evaluation, artifact_path, artifact_digest,
    resources, data, compute) ON gregory_runs_algorithmrun TO gregory_train;
GRANT SELECT ON gregory_runs_runevent TO gregory_train;
-- For the operator pages.
GRANT SELECT ON gregory_runs_operatoraction TO gregory_train;
GRANT INSERT (at, by, action, subject_id, label, run_id, detail, done) ON gregory_runs_operatoraction TO gregory_train;
-- For export_training_data.
GRANT SELECT (article_id, subject_id, source_id) ON gregory_data_importedarticle TO gregory_train;

-- gregory_run: one attempt of one run. It neither opens a run, nor changes its specification, its token or its subject.
GRANT SELECT (id, subject_name, subject_slug) ON subjects TO gregory_run;
GRANT UPDATE (state, reason, detail, host, external_name, external_uid, image_digest, exit_code, started_at, heartbeat_at, progress_at,
    finished_at, log_tail, node, waiting_for, unknown_since, missing_since, claim_key) ON gregory_runs_trainingrun TO gregory_run;
GRANT SELECT (id) ON gregory_runs_runevent TO gregory_run;

-- The rows of gregory_run: those of the attempt whose token the session names. The token is random and known to the attempt alone. All
-- other roles see and write the same rows as before.
DO $$
DECLARE
    one record;
    own_run constant text := 'run_id IN (SELECT run_id FROM gregory_runs_trainingrun
        WHERE attempt_token = current_setting(''gregory.run_token'', true))';
BEGIN
    -- The condition holds for the row before the change, the check for the row after it.
    FOR one IN SELECT * FROM (VALUES
        ('gregory_runs_trainingrun', 'own_run', 'ALL', 'attempt_token = current_setting(''gregory.run_token'', true)', NULL),
        ('gregory_runs_trainingrun', 'unfinished_run', 'UPDATE', 'state NOT IN (''succeeded'', ''failed'', ''cancelled'')', 'true'),
        ('gregory_runs_algorithmrun', 'own_run', 'ALL', own_run, NULL),
        ('gregory_runs_algorithmrun', 'unfinished_training', 'UPDATE', 'stage <> ''ended''', 'true'),
        ('gregory_runs_runevent', 'own_run', 'ALL', own_run, NULL),
        ('gregory_predictionrunlog', 'own_unfinished_training', 'UPDATE', 'EXISTS (SELECT FROM gregory_runs_algorithmrun
            WHERE run_log_id = gregory_predictionrunlog.id AND stage <> ''ended'')', 'model_version ~ ''^[A-Za-z0-9][A-Za-z0-9._-]*$''')
    ) AS rule (table_name, policy, command, condition, after) LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', one.table_name);
        EXECUTE format('DROP POLICY IF EXISTS every_role ON %I', one.table_name);
        EXECUTE format('CREATE POLICY every_role ON %I USING (true)', one.table_name);
        EXECUTE format('DROP POLICY IF EXISTS %I ON %I', one.policy, one.table_name);
        EXECUTE format('CREATE POLICY %I ON %I AS RESTRICTIVE FOR %s TO gregory_run USING (%s)', one.policy, one.table_name, one.command,
            one.condition) || coalesce(' WITH CHECK (' || one.after || ')', '');
    END LOOP;
END
$$;

\getenv train_password POSTGRES_TRAIN_PASSWORD
\getenv run_password POSTGRES_RUN_PASSWORD
\if :{?train_password}
ALTER ROLE gregory_train PASSWORD :'train_password';
\endif
\if :{?run_password}
ALTER ROLE gregory_run PASSWORD :'run_password';
\endif
COMMIT;
