{{- /* The three probes of agents and controller. */ -}}
{{- define "kubeward.probes" -}}
startupProbe:
  exec: {command: [/kubeward, health]}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 60
livenessProbe:
  exec: {command: [/kubeward, health]}
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 3
readinessProbe:
  exec: {command: [/kubeward, health, --ready]}
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 3
{{- end }}
