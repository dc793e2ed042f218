{{- /* The variables of the notifications, as a list. Empty without an address. */}}
{{- define "gregory-train.notificationVariables" -}}
{{- $notifications := .Values.notifications }}
{{- $smtp := $notifications.smtp }}
{{- $webhook := $notifications.webhook }}
{{- if or $notifications.email $webhook.existingSecret }}
{{- if not .Values.reconciler.enabled }}
{{- fail "notifications: the reconciler sends them. Set reconciler.enabled to true" }}
{{- end }}
- name: GREGORY_NOTIFY_DAYS
  value: {{ $notifications.noSuccessDays | int | toString | quote }}
{{- if $notifications.templates }}
- name: GREGORY_NOTIFY_TEMPLATES
  value: /etc/gregory-notifications
{{- end }}
{{- else if $notifications.templates }}
{{- fail "notifications.templates: no message is sent. Set notifications.email or notifications.webhook.existingSecret, or remove the templates" }}
{{- end }}
{{- if $notifications.email }}
{{- if not $smtp.host }}
{{- fail "notifications.smtp.host is empty: set it to the mail server, such as mail.example.org" }}
{{- end }}
{{- if and $smtp.user (not $smtp.existingSecret) }}
{{- fail "notifications.smtp.existingSecret is empty: set it to the Secret with the password of notifications.smtp.user" }}
{{- end }}
- name: GREGORY_NOTIFY_EMAIL
  value: {{ join "," $notifications.email | quote }}
- name: EMAIL_HOST
  value: {{ $smtp.host | quote }}
- name: EMAIL_PORT
  value: {{ $smtp.port | int | toString | quote }}
- name: EMAIL_USE_TLS
  value: {{ $smtp.tls | toString | quote }}
{{- with $smtp.from }}
- name: DEFAULT_FROM_EMAIL
  value: {{ . | quote }}
{{- end }}
{{- if $smtp.user }}
- name: EMAIL_HOST_USER
  value: {{ $smtp.user | quote }}
- name: EMAIL_HOST_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $smtp.existingSecret }}
      key: {{ $smtp.passwordKey }}
{{- end }}
{{- end }}
{{- with $webhook.existingSecret }}
- name: GREGORY_NOTIFY_WEBHOOK
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $webhook.key }}
{{- end }}
{{- end }}

{{- /* The files of the templates, by name. Empty without them. */}}
{{- define "gregory-train.notificationTemplates" -}}
{{- $files := dict }}
{{- range $name, $text := .Values.notifications.templates }}
{{- $_ := set $files (printf "%s.txt" $name) $text }}
{{- end }}
{{- with $files }}
{{- toYaml . }}
{{- end }}
{{- end }}
