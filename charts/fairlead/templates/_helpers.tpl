{{/* The ending of each object's name: empty for the default revision. */}}
{{- define "fairlead.suffix" -}}
{{- with .Values.revision }}-{{ . }}{{ end -}}
{{- end -}}

{{/* Values of istio.io/rev that mean this installation, as a JSON list. */}}
{{- define "fairlead.revisions" -}}
{{- $revision := .Values.revision | default "default" -}}
{{- $tags := .Values.revisionTags | default list -}}
{{- if eq .Values.revision "default" -}}
{{- fail "revision: leave it empty for the default revision; to make a named one the default, add the tag: revisionTags: [default]" -}}
{{- end -}}
{{- if has $revision $tags -}}
{{- fail (printf "revisionTags: %s is what this revision is called already; remove it" $revision) -}}
{{- end -}}
{{- concat (list $revision) $tags | toJson -}}
{{- end -}}

{{/* Whether istio-injection=enabled means this installation: "true" or empty. */}}
{{- define "fairlead.isDefault" -}}
{{- if has "default" (include "fairlead.revisions" . | fromJsonArray) }}true{{ end -}}
{{- end -}}

{{- define "fairlead.webhook" -}}
fairlead-webhook{{ include "fairlead.suffix" . }}
{{- end -}}

{{- define "fairlead.configuration" -}}
fairlead-sidecar-injector{{ include "fairlead.suffix" . }}
{{- end -}}

{{- define "fairlead.secret" -}}
fairlead-webhook-ca{{ include "fairlead.suffix" . }}
{{- end -}}

{{/* The mesh's configuration, under Istio's name. */}}
{{- define "fairlead.mesh" -}}
istio{{ include "fairlead.suffix" . }}
{{- end -}}

{{- define "fairlead.check" -}}
fairlead-check{{ include "fairlead.suffix" . }}
{{- end -}}

{{/* What selects the webhook's pods; a Deployment cannot change it. */}}
{{- define "fairlead.selector" -}}
app.kubernetes.io/name: fairlead
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: webhook
{{- end -}}

{{- define "fairlead.labels" -}}
{{ include "fairlead.selector" . }}
app.kubernetes.io/part-of: fairlead
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
istio.io/rev: {{ .Values.revision | default "default" }}
{{- end -}}

{{- define "fairlead.image" -}}
{{ .image.repository }}:{{ .image.tag | default .chart.AppVersion }}
{{- end -}}

{{/* After which the kubelet kills a replica that ends. */}}
{{- define "fairlead.gracePeriod" -}}
{{- $takes := add .Values.webhook.propagationSeconds .Values.webhook.drainSeconds -}}
{{- if le (int64 .Values.webhook.terminationGracePeriodSeconds) $takes -}}
{{- fail (printf "webhook.terminationGracePeriodSeconds: %v is not more than propagationSeconds and drainSeconds together, %d: a replica would be killed with connections open" .Values.webhook.terminationGracePeriodSeconds $takes) -}}
{{- end -}}
{{- .Values.webhook.terminationGracePeriodSeconds -}}
{{- end -}}

{{- define "fairlead.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: true
{{- end -}}

{{- define "fairlead.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}
