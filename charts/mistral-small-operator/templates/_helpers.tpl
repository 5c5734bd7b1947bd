{{/* Name of the chart, for the label app.kubernetes.io/name. */}}
{{- define "mistral-small-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/*
Name of every object. It leaves room for the longest suffix: names of Services and values of labels
end at 63 characters.
*/}}
{{- define "mistral-small-operator.fullname" -}}
{{- $name := include "mistral-small-operator.name" . }}
{{- $joined := printf "%s-%s" .Release.Name $name }}
{{- if contains $name .Release.Name }}{{ $joined = .Release.Name }}{{ end }}
{{- default $joined .Values.fullnameOverride | trunc 53 | trimSuffix "-" }}
{{- end }}

{{- define "mistral-small-operator.serviceAccountName" -}}
{{- $own := ternary (include "mistral-small-operator.fullname" .) "default" .Values.serviceAccount.create }}
{{- default $own .Values.serviceAccount.name }}
{{- end }}

{{- define "mistral-small-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "mistral-small-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels that select the activator's pods, and none of the operator's. */}}
{{- define "mistral-small-operator.activatorSelectorLabels" -}}
app.kubernetes.io/name: {{ include "mistral-small-operator.name" . | trunc 53 | trimSuffix "-" }}-activator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/*
Labels of the activator's pods whose callers the operator limits. Pods of a chart without that lack
the second one: they stay open until they are replaced.
*/}}
{{- define "mistral-small-operator.activatorLimitedLabels" -}}
{{ include "mistral-small-operator.activatorSelectorLabels" . }}
inference.mistral-small.io/callers: limited
{{- end }}

{{/*
Names of the NetworkPolicies in which the operator limits callers, as a list in JSON. Each has the
rules of 50 ports.
*/}}
{{- define "mistral-small-operator.activatorPolicies" -}}
{{- $names := list }}
{{- range $port := untilStep 20000 22000 50 }}
{{- $names = append $names (printf "mistral-small-operator-activator-%d" $port) }}
{{- end }}
{{- toJson $names }}
{{- end }}

{{/* Labels of every object of the activator. */}}
{{- define "mistral-small-operator.activatorLabels" -}}
{{ include "mistral-small-operator.activatorSelectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- include "mistral-small-operator.commonLabels" . }}
{{- end }}

{{/*
Labels of every object. app.kubernetes.io/managed-by is Helm: the operator lists what bears its own
name there, and must not take its own Deployment for a child.
*/}}
{{- define "mistral-small-operator.labels" -}}
{{ include "mistral-small-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- include "mistral-small-operator.commonLabels" . }}
{{- end }}

{{/* Labels that the user adds to every object, without those that the chart sets. */}}
{{- define "mistral-small-operator.commonLabels" -}}
{{- $own := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart" }}
{{- range $key, $value := .Values.commonLabels }}
{{- if has $key $own }}
{{- fail (printf "commonLabels cannot set %s, which the chart sets. Remove it." $key) }}
{{- end }}
{{ $key }}: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* Reference of an image: call it with a list of the image's values and the root. */}}
{{- define "mistral-small-operator.image" -}}
{{- $image := index . 0 }}
{{- $root := index . 1 }}
{{- $registry := default "" $root.Values.global.imageRegistry }}
{{- $repository := $image.repository }}
{{- if and $registry (hasPrefix "ghcr.io/" $repository) }}
{{- $repository = printf "%s/%s" $registry (trimPrefix "ghcr.io/" $repository) }}
{{- end }}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ default $root.Chart.AppVersion $image.tag }}
{{- end }}
{{- end }}

{{/* Subject of every binding: the operator's ServiceAccount. */}}
{{- define "mistral-small-operator.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "mistral-small-operator.serviceAccountName" . }}
    namespace: {{ .Release.Namespace }}
{{- end }}

{{/*
What the operator may do in the namespaces that it watches: what its code does, and no more.
tests/support/operator_rights.py says for each right which code needs it.
*/}}
{{- define "mistral-small-operator.rules" -}}
- apiGroups: [inference.mistral-small.io]
  resources: [mistralsmalldeployments]
  verbs: [get, list, watch]
- apiGroups: [inference.mistral-small.io]
  resources: [mistralsmalldeployments/status]
  verbs: [patch]
# Children name their resource as owner and keep its deletion waiting (blockOwnerDeletion). Where the
# admission plugin OwnerReferencesPermissionEnforcement is on, as on OpenShift, that needs this rule.
- apiGroups: [inference.mistral-small.io]
  resources: [mistralsmalldeployments/finalizers]
  verbs: [update]
# Children. A server-side apply is a patch, and also a create where the object does not exist.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
# Those whose pods make nodes pull the images of an edit before it is rolled out.
- apiGroups: [apps]
  resources: [daemonsets]
  verbs: [get, list, watch, create, patch, delete]
# Jobs that fetch a model before pods need it (spec.cache.prefetch).
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
# Only claims that were never bound are deleted, to create them anew as their resource says now.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch, delete]
# Its own Events, which it counts instead of repeating them, and those about a claim that is not bound
# or a pod that waits: the status quotes the newest one.
- apiGroups: [""]
  resources: [events]
  verbs: [create, list, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# Slices that send the requests of endpoints that are scaled to zero to the activator. This permission
# would let the operator redirect traffic of any Service, so it is granted only with the activator;
# deleting slices that an earlier activator left behind is always allowed.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch, {{ if .Values.activator.enabled }}create, patch, {{ end }}delete]
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, list, watch, create, patch, delete]
# Pods are read only: their Deployment creates and deletes them.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# Checks whether the ConfigMap with the system prompt exists: get by name, never list.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
{{- end }}

{{/*
CEL that tells whether `one` is one of some peers: call it with a list of them. The API server fills in
matchLabels. `dyn` keeps CEL from comparing the types of the parts.
*/}}
{{- define "mistral-small-operator.isPeer" -}}
{{- $each := list }}
{{- range . }}
{{- $parts := list }}
{{- range $key, $value := . }}
{{- if eq $key "ipBlock" }}
{{- $block := list }}
{{- range $field, $of := $value }}
{{- $block = append $block (printf "%s: dyn(%s)" (toJson $field) (toJson $of)) }}
{{- end }}
{{- $parts = append $parts (printf "\"ipBlock\": dyn({%s})" (join ", " $block)) }}
{{- else }}
{{- $labels := default dict (default dict $value).matchLabels }}
{{- $parts = append $parts (printf "%s: dyn({\"matchLabels\": dyn(%s)})" (toJson $key) (toJson $labels)) }}
{{- end }}
{{- end }}
{{- $each = append $each (printf "one == {%s}" (join ", " $parts)) }}
{{- end }}
{{- join " || " $each | default "false" }}
{{- end }}

{{/* A quantity of memory in MiB: call it with a text or a number. 0 if it has another form. */}}
{{- define "mistral-small-operator.mebibytes" -}}
{{- $factors := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 }}
{{- if kindIs "string" . }}
{{- $unit := regexFind "[A-Za-z].*$" . }}
{{- if hasKey $factors $unit }}
{{- divf (mulf (float64 (trimSuffix $unit .)) (get $factors $unit)) 1048576 }}
{{- else -}}
0
{{- end }}
{{- else }}
{{- divf . 1048576 }}
{{- end }}
{{- end }}
