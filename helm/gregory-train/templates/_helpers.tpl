{{/* What names begin with: release and chart, or the release alone where it names the chart. */}}
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
One object's name: (dict "root" $ "suffix" "reconciler" "most" 63). What is too long is cut and gets a checksum, so that names that
differ at their ends stay different.
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

{{/* (dict "root" $ "component" "reconciler"): what a selector may hold on to. */}}
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

{{/* The cluster file: `job`, with what the chart knows better filled in. */}}
{{- define "gregory-train.clusterFile" -}}
{{- $job := deepCopy .Values.job -}}
{{- $_ := set $job "namespace" .Release.Namespace -}}
{{- $_ := set $job "serviceAccountName" (include "gregory-train.trainer" .) -}}
{{- $_ := set $job "database" (include "gregory-train.database" .Values.job.database | fromYaml) -}}
{{- $_ := set $job.volumes.models "claimName" (include "gregory-train.models" .) -}}
{{- $_ := set $job "labels" (merge (dict "app.kubernetes.io/instance" .Release.Name) ($job.labels | default dict) .Values.commonLabels) -}}
{{- if not (or $job.image.tag $job.image.digest) -}}
{{- $_ := set $job.image "tag" .Chart.AppVersion -}}
{{- end -}}
{{- toYaml $job -}}
{{- end -}}

{{/* A value comes before its key, so that whoever gives `host` need not take `hostKey` away. */}}
{{- define "gregory-train.database" -}}
{{- $database := deepCopy . -}}
{{- range $name := list "host" "name" "user" -}}
{{- if get $database $name -}}
{{- $_ := unset $database (printf "%sKey" $name) -}}
{{- else if not (get $database (printf "%sKey" $name)) -}}
{{- fail (printf "job.database: give either %s or %sKey; neither is there" $name $name) -}}
{{- end -}}
{{- end -}}
{{- toYaml $database -}}
{{- end -}}

{{/* The database's variables: as a run has them. */}}
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
  {{- else }}
  value: {{ get $database $name | toString | replace "$" "$$" | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "gregory-train.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .Values.job.security.runAsUser }}
runAsGroup: {{ .Values.job.security.runAsGroup }}
fsGroup: {{ .Values.job.security.fsGroup }}
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
A pod of the chart itself that runs one command of manage.py:
(dict "root" $ "component" "submitter" "args" $args "database" $database "ofTheCluster" true "models" false)
ofTheCluster: whether it knows the cluster file and is known to the API server. models: whether it sees the models.
*/}}
{{- define "gregory-train.operatorPod" -}}
{{- $ := .root -}}
{{- $operator := $.Values.operator -}}
metadata:
  labels:
    {{- include "gregory-train.selector" . | nindent 4 }}
    {{- with $.Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- with $operator.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if or .annotations $operator.podAnnotations }}
  annotations:
    {{- merge (default dict .annotations) $operator.podAnnotations | toYaml | nindent 4 }}
  {{- end }}
spec:
  restartPolicy: {{ .restartPolicy | default "Never" }}
  serviceAccountName: {{ if .ofTheCluster }}{{ include "gregory-train.submitter" $ }}{{ else }}default{{ end }}
  automountServiceAccountToken: {{ .ofTheCluster }}
  enableServiceLinks: false
  {{- with $operator.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    {{- include "gregory-train.podSecurity" $ | nindent 4 }}
  containers:
    - name: {{ .component }}
      image: {{ include "gregory-train.image" (dict "root" $ "image" $operator.image) }}
      imagePullPolicy: {{ $operator.image.pullPolicy }}
      args:
        {{- toYaml .args | nindent 8 }}
      env:
        {{- include "gregory-train.databaseVariables" .database | trim | nindent 8 }}
        {{- if .ofTheCluster }}
        {{- include "gregory-train.clusterVariables" $ | nindent 8 }}
        {{- end }}
        {{- with $operator.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $operator.envFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      resources:
        {{- toYaml $operator.resources | nindent 8 }}
      securityContext:
        {{- include "gregory-train.containerSecurity" $ | nindent 8 }}
      terminationMessagePolicy: FallbackToLogsOnError
      volumeMounts:
        {{- if .ofTheCluster }}
        - name: cluster
          mountPath: /etc/gregory-train
          readOnly: true
        {{- end }}
        {{- if .models }}
        {{- include "gregory-train.modelsMount" $ | nindent 8 }}
        {{- end }}
        - name: tmp
          mountPath: /tmp
  volumes:
    {{- if .ofTheCluster }}
    - name: cluster
      configMap:
        name: {{ include "gregory-train.config" $ }}
    {{- end }}
    {{- if .models }}
    {{- include "gregory-train.modelsVolume" $ | nindent 4 }}
    {{- end }}
    - name: tmp
      emptyDir: {}
  {{- with $operator.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $operator.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $operator.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $operator.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
{{- end -}}

{{/* The models, as a run has them. */}}
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
