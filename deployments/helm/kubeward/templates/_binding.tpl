{{- /* A binding of `name` that gives `role` to `account`, in the whole cluster or in the namespace. */ -}}
{{- define "kubeward.binding" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "ClusterRoleBinding" "RoleBinding" .cluster }}
metadata:
  name: {{ .name }}
  {{- if not .cluster }}
  namespace: {{ .root.Values.namespace.name }}
  {{- end }}
  labels:
    app.kubernetes.io/name: kubeward
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ ternary "ClusterRole" "Role" .cluster }}
  name: {{ .role }}
subjects:
  - kind: ServiceAccount
    name: {{ .account }}
    namespace: {{ .root.Values.namespace.name }}
{{- end }}
