-- A role for the operator pages and for the commands that they start: gregory_web. It has the rights of gregory_train, and reads accounts,
-- their permissions and their organizations. It changes none of them. Run this with psql as the owner of the tables, after
-- docs/sql/least-privilege.sql and after every upgrade of GregoryAI. Repeating it does no harm.
--
--   psql -d gregory -f docs/sql/operator-pages.sql
--
-- Give `python -m gregory.web` this role in POSTGRES_USER. To predict from the pages, also run docs/sql/predictor.sql, and
-- GRANT gregory_predict TO gregory_web. The role gets the password in POSTGRES_WEB_PASSWORD, if the shell has this variable.

\set ON_ERROR_STOP on
BEGIN;
SET LOCAL lock_timeout = '10s';
SET LOCAL client_min_messages = warning;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'gregory_web') THEN
        CREATE ROLE gregory_web LOGIN;
    END IF;
    GRANT gregory_train TO gregory_web;
END
$$;

-- Logins and permissions. Django reads whole rows of auth_user.
GRANT SELECT ON auth_user, auth_group, auth_permission, auth_user_groups, auth_group_permissions, auth_user_user_permissions,
    django_content_type, organizations_organizationuser TO gregory_web;
-- The lists of teams, subjects, articles and reviews, and the probabilities for the order of labels.
GRANT SELECT (organization_id) ON gregory_team TO gregory_web;
GRANT SELECT (description) ON subjects TO gregory_web;
GRANT SELECT (subject_id, article_id, model_version, probability_score) ON gregory_mlpredictions TO gregory_web;

\getenv web_password POSTGRES_WEB_PASSWORD
\if :{?web_password}
ALTER ROLE gregory_web PASSWORD :'web_password';
\endif
COMMIT;
