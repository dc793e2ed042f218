-- A database with a past: made before migrations were squashed, with serial ids from sequences of other names, constraints that somebody
-- named by hand, foreign keys that were lost, and gregory.0002 not applied yet.
CREATE SEQUENCE team_ids;
CREATE TABLE gregory_team (
    id bigint PRIMARY KEY DEFAULT nextval('team_ids'),
    slug varchar(50) NOT NULL CONSTRAINT one_slug UNIQUE,
    organization_id integer NOT NULL
);
CREATE TABLE subjects (
    id bigserial CONSTRAINT pk_of_subjects PRIMARY KEY,
    subject_name varchar(50) NOT NULL, description text, subject_slug varchar(50) NOT NULL,
    team_id bigint
);
CREATE TABLE articles (
    article_id serial CONSTRAINT pk_of_articles PRIMARY KEY,
    title text NOT NULL UNIQUE, link varchar(2000) NOT NULL, doi varchar(280), summary text, summary_plain_english text,
    published_date timestamptz, discovery_date timestamptz NOT NULL, relevant boolean, noun_phrases jsonb, sent_to_subscribers boolean,
    kind varchar(50) NOT NULL, access varchar(50), publisher varchar(150), container_title varchar(150), crossref_check timestamptz,
    takeaways text, retracted boolean NOT NULL
);
CREATE TABLE articles_subjects (
    id bigserial PRIMARY KEY, articles_id integer NOT NULL, subject_id bigint NOT NULL,
    CONSTRAINT each_once UNIQUE (articles_id, subject_id)
);
CREATE TABLE articles_teams (id bigserial PRIMARY KEY, articles_id integer NOT NULL REFERENCES articles, team_id bigint NOT NULL);
CREATE TABLE gregory_articlesubjectrelevance (
    id bigserial PRIMARY KEY, is_relevant boolean NOT NULL, article_id integer NOT NULL, subject_id bigint NOT NULL,
    UNIQUE (article_id, subject_id)
);
CREATE SEQUENCE run_log_numbers;
CREATE TABLE gregory_predictionrunlog (
    id bigint PRIMARY KEY DEFAULT nextval('run_log_numbers'),
    model_version varchar(100) NOT NULL, run_type varchar(10) NOT NULL, run_started timestamptz NOT NULL, run_finished timestamptz,
    success boolean, triggered_by varchar(100), error_message text,
    subject_id bigint NOT NULL CONSTRAINT log_to_subject REFERENCES subjects,
    team_id bigint NOT NULL
);
CREATE TABLE gregory_mlpredictions (
    id bigserial PRIMARY KEY,
    created_date timestamptz NOT NULL, model_version varchar(100), probability_score double precision, predicted_relevant boolean,
    gnb boolean, lr boolean, lsvc boolean, mnb boolean, article_id integer, subject_id bigint NOT NULL
);
CREATE TABLE articles_ml_predictions (id bigserial PRIMARY KEY, articles_id integer NOT NULL, mlpredictions_id bigint NOT NULL);

INSERT INTO django_migrations (app, name, applied) VALUES ('gregory', '0001_initial', '2025-05-19 00:00+00');
