{{/* The beginning of every name: release and chart, or the release alone if its name contains the chart's. */}}
{{- define "gregory-train.fullname" -}}
{{- $chart := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $chart .Release.Name -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $chart -}}
{{- end -}}
{{- end -}}

{{/*
The name of one object: (dict "root" $ "suffix" "reconciler" "most" 63). A name that is too long is cut and gets a checksum. So names
that differ only at their ends stay different.
*/}}
{{- define "gregory-train.named" -}}
{{- $base := include "gregory-train.fullname" .root -}}
{{- $most := sub (default 63 .most) (add1 (len .suffix)) | int -}}
{{- if gt (len $base) $most -}}
{{- $base = printf "%s-%s" (regexReplaceAll "[^a-z0-9]+$" (trunc (sub $most 9 | int) $base) "") (trunc 8 (sha256sum $base)) -}}
{{- end -}}
{{- printf "%s-%s" $base .suffix -}}
{{- end -}}

{{- define "gregory-train.submitter" -}}
{{- .Values.serviceAccount.submitter.name | default (include "gregory-train.named" (dict "root" . "suffix" "submitter")) -}}
{{- end -}}

{{- define "gregory-train.trainer" -}}
{{- .Values.job.serviceAccountName | default (include "gregory-train.named" (dict "root" . "suffix" "trainer")) -}}
{{- end -}}

{{- define "gregory-train.models" -}}
{{- .Values.job.volumes.models.claimName | default (include "gregory-train.named" (dict "root" . "suffix" "models")) -}}
{{- end -}}

{{- define "gregory-train.config" -}}
{{- include "gregory-train.named" (dict "root" . "suffix" "cluster") -}}
{{- end -}}

{{/* (dict "root" $ "component" "reconciler"): the labels that never change between releases, for selectors. */}}
{{- define "gregory-train.selector" -}}
app.kubernetes.io/name: gregory-train
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "gregory-train.labels" -}}
{{ include "gregory-train.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* (dict "root" $ "image" $image) */}}
{{- define "gregory-train.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The cluster file: `job`, completed with the namespace and the names that the chart chooses. */}}
{{- define "gregory-train.clusterFile" -}}
{{- $job := deepCopy .Values.job -}}
{{- $_ := set $job "namespace" .Release.Namespace -}}
{{- $_ := set $job "serviceAccountName" (include "gregory-train.trainer" .) -}}
{{- $_ := set $job "database" (include "gregory-train.database" .Values.job.database | fromYaml) -}}
{{- $_ := set $job.volumes.models "claimName" (include "gregory-train.models" .) -}}
{{- $_ := set $job "labels" (merge (dict "app.kubernetes.io/instance" .Release.Name) ($job.labels | default dict) .Values.commonLabels) -}}
{{- /* Helm removes a value that is set to null. In the cluster file, null means that the cluster chooses. */}}
{{- range $name := list "runAsUser" "runAsGroup" "fsGroup" -}}
{{- if not (hasKey $job.security $name) -}}
{{- $_ := set $job.security $name nil -}}
{{- end -}}
{{- end -}}
{{- if not (or $job.image.tag $job.image.digest) -}}
{{- $_ := set $job.image "tag" .Chart.AppVersion -}}
{{- end -}}
{{- toYaml $job -}}
{{- end -}}

{{/* A value takes precedence over its key. So a user who sets `host` can keep the default `hostKey`. */}}
{{- define "gregory-train.database" -}}
{{- $database := deepCopy . -}}
{{- range $name := list "host" "name" "user" -}}
{{- if get $database $name -}}
{{- $_ := unset $database (printf "%sKey" $name) -}}
{{- else if not (get $database (printf "%sKey" $name)) -}}
{{- fail (printf "job.database: set %s or %sKey, both are empty" $name $name) -}}
{{- end -}}
{{- end -}}
{{- $prediction := $database.prediction | default dict -}}
{{- if not (or $prediction.existingSecret $prediction.passwordKey $prediction.user $prediction.userKey) -}}
{{- $_ := unset $database "prediction" -}}
{{- end -}}
{{- if $database.port -}}
{{- $_ := unset $database "portKey" -}}
{{- else -}}
{{- $_ := unset $database "port" -}}
{{- end -}}
{{- toYaml $database -}}
{{- end -}}

{{/* `job.database` with another role: (dict "root" $ "role" $.Values.controller.database). An empty value stays that of the runs. */}}
{{- define "gregory-train.databaseOf" -}}
{{- $database := deepCopy .root.Values.job.database -}}
{{- range $name := list "existingSecret" "passwordKey" "user" "userKey" -}}
{{- with get $.role $name -}}
{{- $_ := set $database $name . -}}
{{- end -}}
{{- end -}}
{{- if and .role.userKey (not .role.user) -}}
{{- $_ := unset $database "user" -}}
{{- end -}}
{{- toYaml $database -}}
{{- end -}}

{{/* The database of submitter, reconciler and uninstall. */}}
{{- define "gregory-train.databaseOfController" -}}
{{- include "gregory-train.databaseOf" (dict "root" . "role" .Values.controller.database) -}}
{{- end -}}

{{/* The database of submitters of predictions: the role of predictions, or without one that of the other submitters. */}}
{{- define "gregory-train.databaseOfPredictor" -}}
{{- $role := .Values.job.database.prediction | default dict -}}
{{- if or $role.existingSecret $role.passwordKey $role.user $role.userKey -}}
{{- include "gregory-train.databaseOf" (dict "root" . "role" $role) -}}
{{- else -}}
{{- include "gregory-train.databaseOfController" . -}}
{{- end -}}
{{- end -}}

{{/* The variables of the database, the same as those of a run. */}}
{{- define "gregory-train.databaseVariables" -}}
{{- $database := include "gregory-train.database" . | fromYaml -}}
{{- range $variable, $name := dict "POSTGRES_DB" "name" "POSTGRES_USER" "user" "POSTGRES_PASSWORD" "password" "DB_HOST" "host" "DB_PORT" "port" }}
{{- $key := get $database (printf "%sKey" $name) }}
- name: {{ $variable }}
  {{- if $key }}
  valueFrom:
    secretKeyRef:
      name: {{ $database.existingSecret }}
      key: {{ $key }}
      {{- if eq $name "port" }}
      optional: true
      {{- end }}
  {{- else }}
  value: {{ get $database $name | default (eq $name "port" | ternary 5432 "") | toString | replace "$" "$$" | quote }}
  {{- end }}
{{- end }}
{{- with $database.sslMode }}
- name: DB_SSLMODE
  value: {{ . }}
{{- end }}
{{- with $database.requireAuth }}
- name: DB_REQUIRE_AUTH
  value: {{ . | quote }}
{{- end }}
{{- range include "gregory-train.databaseFiles" $database | fromYamlArray }}
- name: {{ .variable }}
  value: /etc/gregory-database/{{ .path }}
{{- end }}
{{- end -}}

{{/* The role of the runs, for a pod that has another role. */}}
{{- define "gregory-train.roleOfRuns" -}}
{{- range $variable := include "gregory-train.databaseVariables" . | fromYamlArray }}
{{- if has $variable.name (list "POSTGRES_USER" "POSTGRES_PASSWORD") }}
{{- list (set $variable "name" ($variable.name | replace "POSTGRES_" "POSTGRES_RUN_")) | toYaml | nindent 0 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The files of the connection in the Secret: the variable that names each, its key and its path. */}}
{{- define "gregory-train.databaseFiles" -}}
{{- range $file := list (list "DB_SSLROOTCERT" .sslRootCertKey "ca.crt") (list "DB_SSLCERT" .sslCertKey "client.crt") (list "DB_SSLKEY" .sslKeyKey "client.key") }}
{{- if index $file 1 }}
- variable: {{ index $file 0 }}
  key: {{ index $file 1 }}
  path: {{ index $file 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Certificates and key of the connection, mounted as in a run. */}}
{{- define "gregory-train.certificateMount" -}}
{{- if include "gregory-train.databaseFiles" . | fromYamlArray }}
- name: database-certificate
  mountPath: /etc/gregory-database
  readOnly: true
{{- end }}
{{- end -}}

{{- define "gregory-train.certificateVolume" -}}
{{- with include "gregory-train.databaseFiles" . | fromYamlArray }}
- name: database-certificate
  secret:
    secretName: {{ $.existingSecret }}
    # libpq refuses a private key that other users may read.
    defaultMode: 288
    items:
      {{- range . }}
      - key: {{ .key }}
        path: {{ .path }}
      {{- end }}
{{- end }}
{{- end -}}

{{- define "gregory-train.podSecurity" -}}
runAsNonRoot: true
{{- range $name := list "runAsUser" "runAsGroup" "fsGroup" }}
{{- $number := index $.Values.job.security $name }}
{{- if not (kindIs "invalid" $number) }}
{{ $name }}: {{ $number | int64 }}
{{- end }}
{{- end }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "gregory-train.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
readOnlyRootFilesystem: true
runAsNonRoot: true
{{- end -}}

{{/*
A pod of the chart itself, which runs one command of manage.py:
(dict "root" $ "component" "submitter" "args" $args "database" $database "withCluster" true "models" false "readsModels" false)
withCluster: the pod mounts the cluster file and has the token of the submitter. models: the pod mounts the models. readsModels: and only
reads them, to plan predictions. command: replaces manage.py and args. variables: further ones. templates: the pod mounts those of the
notifications. httpPort: the port that the pod serves.
*/}}
{{- define "gregory-train.controllerPod" -}}
{{- $ := .root -}}
{{- $given := . -}}
{{- $controller := $.Values.controller -}}
metadata:
  labels:
    {{- include "gregory-train.selector" . | nindent 4 }}
    {{- with $.Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- with $controller.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if or .annotations $controller.podAnnotations }}
  annotations:
    {{- merge (default dict .annotations) $controller.podAnnotations | toYaml | nindent 4 }}
  {{- end }}
spec:
  restartPolicy: {{ .restartPolicy | default "Never" }}
  serviceAccountName: {{ if .withCluster }}{{ include "gregory-train.submitter" $ }}{{ else }}default{{ end }}
  automountServiceAccountToken: {{ .withCluster }}
  enableServiceLinks: false
  {{- with $controller.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    {{- include "gregory-train.podSecurity" $ | nindent 4 }}
  containers:
    - name: {{ .component }}
      image: {{ include "gregory-train.image" (dict "root" $ "image" $controller.image) }}
      imagePullPolicy: {{ $controller.image.pullPolicy }}
      {{- with .command }}
      command:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .args }}
      args:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      env:
        {{- include "gregory-train.databaseVariables" .database | trim | nindent 8 }}
        {{- if .withCluster }}
        {{- include "gregory-train.clusterVariables" $ | nindent 8 }}
        {{- end }}
        {{- if .readsModels }}
        - name: GREGORY_MODELS_MOUNTED
          value: "true"
        {{- end }}
        {{- if .liveSeconds }}
        - name: GREGORY_LIVENESS_FILE
          value: /tmp/alive
        {{- end }}
        {{- with .metricsPort }}
        - name: {{ ternary "GREGORY_WEB_METRICS_PORT" "GREGORY_METRICS_PORT" (hasKey $given "httpPort") }}
          value: {{ . | toString | quote }}
        - name: GREGORY_METRICS_HOST
          valueFrom:
            fieldRef:
              fieldPath: status.podIP
        {{- end }}
        {{- with .variables }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- with $controller.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $controller.envFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if or .metricsPort .httpPort }}
      ports:
        {{- with .metricsPort }}
        - name: metrics
          containerPort: {{ . }}
          protocol: TCP
        {{- end }}
        {{- with .httpPort }}
        - name: http
          containerPort: {{ . }}
          protocol: TCP
        {{- end }}
      {{- end }}
      {{- if .httpPort }}
      readinessProbe:
        httpGet:
          path: /healthz
          port: http
        timeoutSeconds: 5
      livenessProbe:
        httpGet:
          path: /healthz
          port: http
        initialDelaySeconds: 60
        periodSeconds: 30
        timeoutSeconds: 20
      {{- end }}
      {{- with .liveSeconds }}
      livenessProbe:
        exec:
          command: [python, -m, gregory.management.liveness, /tmp/alive, {{ . | toString | quote }}]
        # The file exists a few seconds after the start.
        initialDelaySeconds: 60
        periodSeconds: 60
        timeoutSeconds: 20
      {{- end }}
      resources:
        {{- toYaml $controller.resources | nindent 8 }}
      securityContext:
        {{- include "gregory-train.containerSecurity" $ | nindent 8 }}
      terminationMessagePolicy: FallbackToLogsOnError
      volumeMounts:
        {{- if .withCluster }}
        - name: cluster
          mountPath: /etc/gregory-train
          readOnly: true
        {{- end }}
        {{- if .templates }}
        - name: notifications
          mountPath: /etc/gregory-notifications
          readOnly: true
        {{- end }}
        {{- if .models }}
        {{- include "gregory-train.modelsMount" $ | nindent 8 }}
        {{- if .readsModels }}
          readOnly: true
        {{- end }}
        {{- end }}
        {{- with include "gregory-train.certificateMount" .database | trim }}
        {{- . | nindent 8 }}
        {{- end }}
        - name: tmp
          mountPath: /tmp
  volumes:
    {{- if .withCluster }}
    - name: cluster
      configMap:
        name: {{ include "gregory-train.config" $ }}
    {{- end }}
    {{- if .templates }}
    - name: notifications
      configMap:
        name: {{ include "gregory-train.named" (dict "root" $ "suffix" "notifications") }}
    {{- end }}
    {{- if .models }}
    {{- include "gregory-train.modelsVolume" $ | nindent 4 }}
    {{- end }}
    {{- with include "gregory-train.certificateVolume" .database | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    - name: tmp
      emptyDir: {}
  {{- with $controller.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $controller.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $controller.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $controller.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
{{- end -}}

{{/* The models, mounted as in a run. */}}
{{- define "gregory-train.modelsMount" -}}
- name: models
  mountPath: /home/brunoamaral/gregory-ai/django/models
  {{- with .Values.job.volumes.models.subPath }}
  subPath: {{ . }}
  {{- end }}
{{- end -}}

{{- define "gregory-train.modelsVolume" -}}
- name: models
  persistentVolumeClaim:
    claimName: {{ include "gregory-train.models" . }}
{{- end -}}

{{- define "gregory-train.clusterVariables" -}}
- name: GREGORY_RUNNER
  value: kubernetes
- name: GREGORY_CLUSTER_CONFIG
  value: /etc/gregory-train/cluster.yaml
{{- end -}}
