//! Workloads that several tests deploy.

/// A client that waits for `kubectl exec`.
pub const CLIENT: &str = concat!(
    "
apiVersion: apps/v1
kind: Deployment
metadata: {name: client}
spec:
  selector:
    matchLabels: {app: client}
  template:
    metadata:
      labels: {app: client}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 1
      containers:
      - name: client
        image: fairlead/testapp:",
    env!("CARGO_PKG_VERSION"),
    "
        imagePullPolicy: IfNotPresent
        args: [sleep]
"
);

/// A server of HTTP and of a server-first protocol, with its Service.
pub const SERVER: &str = concat!(
    "
apiVersion: apps/v1
kind: Deployment
metadata: {name: server}
spec:
  selector:
    matchLabels: {app: server}
  template:
    metadata:
      labels: {app: server}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 1
      containers:
      - name: server
        image: fairlead/testapp:",
    env!("CARGO_PKG_VERSION"),
    "
        imagePullPolicy: IfNotPresent
        args: [serve]
        readinessProbe:
          tcpSocket: {port: 8080}
          periodSeconds: 1
---
apiVersion: v1
kind: Service
metadata: {name: server}
spec:
  selector: {app: server}
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: tcp-greeting, port: 9000, targetPort: 9000}
"
);

/// A server with a probe of each kind on named ports, hooks, and metrics of its own.
pub const PROBED: &str = concat!(
    "
apiVersion: apps/v1
kind: Deployment
metadata: {name: probed}
spec:
  selector:
    matchLabels: {app: probed}
  template:
    metadata:
      labels: {app: probed}
      annotations:
        prometheus.io/scrape: 'true'
        prometheus.io/port: '8080'
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 1
      containers:
      - name: server
        image: fairlead/testapp:",
    env!("CARGO_PKG_VERSION"),
    "
        imagePullPolicy: IfNotPresent
        args: [serve, --https, '[::]:8443', --grpc, '[::]:9001']
        ports:
        - {name: http, containerPort: 8080}
        - {name: https, containerPort: 8443}
        - {name: greeting, containerPort: 9000}
        startupProbe:
          grpc: {port: 9001, service: testapp}
          periodSeconds: 1
          failureThreshold: 60
        readinessProbe:
          httpGet: {path: /healthz, port: https, scheme: HTTPS}
          periodSeconds: 1
        livenessProbe:
          tcpSocket: {port: greeting}
          periodSeconds: 1
        lifecycle:
          preStop:
            httpGet: {path: /, port: http}
      - name: worker
        image: fairlead/testapp:",
    env!("CARGO_PKG_VERSION"),
    "
        imagePullPolicy: IfNotPresent
        args: [sleep]
        readinessProbe:
          exec: {command: [fairlead-testapp, digest, '1']}
          periodSeconds: 1
"
);
