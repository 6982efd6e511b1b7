//! Mesh CA's public root, so that nobody has to fetch it during a migration.

/// The root certificate that signs every issuing CA of Google's Mesh CA, as PEM; valid until
/// 2118-04-25. Source: `asm/istio/options/ca-migration-citadel.yaml` of
/// GoogleCloudPlatform/anthos-service-mesh-packages, where the procedure distributes it.
pub const ROOT_PEM: &str = include_str!("meshca-root.pem");

/// The name under which the procedure knows this root.
pub const NAME: &str = "MESHCA";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Cert;

    #[test]
    fn the_root_is_the_one_that_google_published() {
        let root = Cert::from_pem(ROOT_PEM).unwrap();
        assert_eq!(
            root.sha256().to_string().to_uppercase(),
            "614849A4AA1A7CE593C04443862AD43B5364814D5E7D5125B07408DAD2C526F0"
        );
        assert_eq!(root.serial(), "116db900f6bb4bd4a3fcd8fa57a1b141");
        assert_eq!(root.not_before().to_string(), "2018-04-25T21:11:33Z");
        assert_eq!(root.not_after().to_string(), "2118-04-25T22:11:33Z");
        assert_eq!(root.key_kind().to_string(), "RSA 4096");
        assert_eq!(
            root.subject(),
            "CN=istio_v1_cloud_workload_root-signer-0-2018-04-25T14:11:33-07:00 K:1\\, 1:H52vgwEm3tc:0:18,\
             OU=Cloud,O=Google LLC,L=Mountain View,ST=California,C=US"
        );
        assert!(root.is_ca() && root.can_sign_certs() && root.is_self_issued());
    }
}
