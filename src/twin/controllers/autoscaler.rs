//! HorizontalPodAutoscalers without metrics: the twin measures no load, as a cluster without a metrics server.
//!
//! So they only keep the size between their limits, and say that they cannot compute one.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::context::Ctx;
use super::events::Event;
use super::manager::{Controller, Key, Outcome};
use super::objects::{
    deleting, generation, int, int_or, name, namespace, object_at, set_condition, set_count, text,
    uid, version,
};
use super::replicaset::replicas;
use super::snapshot::Snapshot;

const NAME: &str = "horizontal-pod-autoscaler";
const RESOURCE: &str = "horizontalpodautoscalers.autoscaling";

/// Reconciles HorizontalPodAutoscalers.
pub struct Autoscalers;

impl Controller for Autoscalers {
    fn name(&self) -> &'static str {
        NAME
    }

    fn work(&self, world: &Snapshot, ctx: &Ctx) -> Vec<(Key, u64)> {
        let all = world.list(RESOURCE).iter();
        all.map(|hpa| {
            let print = target(ctx, hpa).map_or(0, |(_, target)| version(&target));
            (Key::of(hpa), version(hpa).wrapping_add(print))
        })
        .collect()
    }

    fn reconcile(&self, ctx: Arc<Ctx>, key: Key) -> BoxFuture<'static, Outcome> {
        Box::pin(async move {
            if let Some(hpa) = ctx.kube.get(RESOURCE, &key.namespace, &key.name)
                && !deleting(&hpa)
            {
                reconcile(&ctx, &hpa).await;
            }
            Outcome::Done
        })
    }
}

/// What an autoscaler scales, with the name of its resource.
fn target(ctx: &Ctx, hpa: &Value) -> Option<(String, Arc<Value>)> {
    let reference = &hpa["spec"]["scaleTargetRef"];
    let group = text(reference, "/apiVersion")
        .split_once('/')
        .map_or("", |(group, _)| group);
    let resource = ctx
        .kube
        .registry()
        .by_kind(group, text(reference, "/kind"))?
        .name();
    let object = ctx
        .kube
        .get(&resource, namespace(hpa), text(reference, "/name"))?;
    Some((resource, object))
}

async fn reconcile(ctx: &Ctx, hpa: &Value) {
    let Some((resource, target)) = target(ctx, hpa) else {
        let reference = &hpa["spec"]["scaleTargetRef"];
        let group = text(reference, "/apiVersion")
            .split_once('/')
            .map_or("", |(group, _)| group);
        let resource = ctx.kube.registry().by_kind(group, text(reference, "/kind"));
        let resource =
            resource.map_or_else(|| text(reference, "/kind").to_lowercase(), |r| r.name());
        let message = format!(
            "the HPA controller was unable to get the target's current scale: {resource} \"{}\" not found",
            text(reference, "/name")
        );
        write_status(
            ctx,
            hpa,
            0,
            0,
            &[("AbleToScale", "False", "FailedGetScale", &message)],
        );
        ctx.event(
            hpa,
            Event::warning(
                NAME,
                "FailedGetScale",
                &message[message.find(": ").map_or(0, |at| at + 2)..],
            ),
        )
        .await;
        return;
    };
    let able = (
        "AbleToScale",
        "True",
        "SucceededGetScale",
        "the HPA controller was able to get the target's current scale",
    );
    let current = int(&target, "/status/replicas");
    let size = replicas(&target);
    if size == 0 {
        let disabled = "scaling is disabled since the replica count of the target is zero";
        let conditions = [
            able,
            ("ScalingActive", "False", "ScalingDisabled", disabled),
        ];
        write_status(ctx, hpa, current, 0, &conditions);
        return;
    }
    let (least, most) = (
        int_or(hpa, "/spec/minReplicas", 1),
        int_or(hpa, "/spec/maxReplicas", size),
    );
    if size < least || size > most {
        let (wanted, reason) = if size < least {
            (least, "Current number of Replicas below Spec.MinReplicas")
        } else {
            (most, "Current number of Replicas above Spec.MaxReplicas")
        };
        // Gone meanwhile: nothing to scale.
        let _ = ctx
            .kube
            .update(&resource, namespace(&target), name(&target), |o| {
                o["spec"]["replicas"] = wanted.into();
            });
        let message = format!("New size: {wanted}; reason: {reason}");
        ctx.event(hpa, Event::normal(NAME, "SuccessfulRescale", &message))
            .await;
        let rescaled =
            format!("the HPA controller was able to update the target scale to {wanted}");
        write_status(
            ctx,
            hpa,
            current,
            wanted,
            &[("AbleToScale", "True", "SucceededRescale", &rescaled)],
        );
        return;
    }
    let unknown = "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)";
    let conditions = [
        able,
        ("ScalingActive", "False", "FailedGetResourceMetric", unknown),
    ];
    write_status(ctx, hpa, current, 0, &conditions);
}

fn write_status(
    ctx: &Ctx,
    hpa: &Value,
    current: i64,
    desired: i64,
    conditions: &[(&str, &str, &str, &str)],
) {
    let now = ctx.now();
    // Gone meanwhile: nothing to write.
    let _ = ctx.kube.update_status(RESOURCE, namespace(hpa), name(hpa), |o| {
        if uid(o) != uid(hpa) {
            return;
        }
        for (kind, status, reason, message) in conditions {
            set_condition(
                o,
                json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now}),
            );
        }
        let status = object_at(o, "status");
        status.entry("currentMetrics").or_insert(Value::Null);
        set_count(status, "currentReplicas", current);
        status.insert("desiredReplicas".to_owned(), desired.into());
        if generation(hpa) > 0 {
            status.insert("observedGeneration".to_owned(), generation(hpa).into());
        }
    });
}
