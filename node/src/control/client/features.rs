//! Features, asked for and changed over the admin socket.

use bytes::Bytes;
use hyper::Method;

use super::endpoint::request;
use super::{AdminClient, ClientError};
use crate::control::features::{FeatureList, FeatureNames};
use crate::control::paths;

impl AdminClient {
    /// The features and their states.
    pub async fn features(&self) -> Result<FeatureList, ClientError> {
        self.0.call(request(Method::GET, paths::FEATURES, Bytes::new())).await
    }

    /// Enables features, all that are named or none, and lists what is then.
    pub async fn enable_features(&self, names: &FeatureNames) -> Result<FeatureList, ClientError> {
        self.0.call(request(Method::POST, paths::FEATURES_ENABLE, body(names))).await
    }

    /// Disables features, all that are named or none, and lists what is then.
    pub async fn disable_features(&self, names: &FeatureNames) -> Result<FeatureList, ClientError> {
        self.0.call(request(Method::POST, paths::FEATURES_DISABLE, body(names))).await
    }
}

fn body(names: &FeatureNames) -> Bytes {
    // Texts and a truth value, which JSON can hold.
    serde_json::to_vec(names).unwrap_or_default().into()
}
