{{- /* The DaemonSet `name` of pods `component`, on nodes where MicroK8s' label is `microk8s` (Exists or DoesNotExist),
       with the folder `run` of containerd's sockets. */ -}}
{{- define "kubeward.agent" -}}
{{- $values := .root.Values -}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: {{ .name }}
  namespace: {{ $values.namespace.name }}
  labels:
    app.kubernetes.io/name: kubeward
    app.kubernetes.io/component: {{ .component }}
spec:
  selector:
    matchLabels:
      app: kubeward
      app.kubernetes.io/component: {{ .component }}
  updateStrategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: {{ $values.agent.maxUnavailable }}
  template:
    metadata:
      labels:
        app: kubeward
        app.kubernetes.io/name: kubeward
        app.kubernetes.io/component: {{ .component }}
      annotations:
        kubectl.kubernetes.io/default-container: kubeward
        {{- with $values.agent.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: kubeward
      priorityClassName: {{ $values.priorityClass.name }}
      terminationGracePeriodSeconds: 15
      enableServiceLinks: false
      {{- with $values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.agent.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
              - matchExpressions:
                  - {key: kubernetes.io/os, operator: In, values: [linux]}
                  - {key: kubernetes.io/arch, operator: In, values: [amd64]}
                  - {key: microk8s.io/cluster, operator: {{ .microk8s }}}
      {{- with $values.agent.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      hostPID: true
      securityContext:
        runAsUser: 0
        runAsGroup: 0
        seccompProfile:
          type: {{ $values.agent.seccompProfile }}
      containers:
        - name: kubeward
          image: {{ $values.image }}
          imagePullPolicy: {{ $values.imagePullPolicy }}
          args: {{ concat (list "agent") $values.agent.extraArgs | toJson }}
          env:
            {{- range $name, $path := dict "NODE_NAME" "spec.nodeName" "POD_NAME" "metadata.name" "POD_NAMESPACE" "metadata.namespace" "POD_UID" "metadata.uid" }}
            - name: KUBEWARD_{{ $name }}
              valueFrom: {fieldRef: {fieldPath: {{ $path }}}}
            {{- end }}
            - name: KUBEWARD_SOCKET
              value: /var/run/kubeward/kubeward.sock
            {{- with $values.agent.extraEnv }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          securityContext:
            readOnlyRootFilesystem: true
            {{- if $values.agent.privileged }}
            privileged: true
            {{- else }}
            allowPrivilegeEscalation: false
            capabilities:
              drop: [ALL]
              add: [BPF, PERFMON]
            {{- end }}
            {{- with $values.agent.seLinuxOptions }}
            seLinuxOptions:
              {{- toYaml . | nindent 14 }}
            {{- end }}
          resources:
            {{- toYaml $values.agent.resources | nindent 12 }}
          {{- include "kubeward.probes" . | nindent 10 }}
          volumeMounts:
            - name: run
              mountPath: {{ .run }}
              readOnly: true
              mountPropagation: HostToContainer
            - name: tracing
              mountPath: /sys/kernel/tracing
              readOnly: true
            - name: socket
              mountPath: /var/run/kubeward
      volumes:
        - name: run
          hostPath: {path: {{ .run }}, type: Directory}
        - name: tracing
          hostPath: {path: /sys/kernel/tracing, type: Directory}
        - name: socket
          emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- end }}
