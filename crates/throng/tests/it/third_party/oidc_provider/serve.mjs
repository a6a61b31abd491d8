// Serves `oidc-provider` on a free port, which is printed once it listens: its own pages for login and consent, which take any
// name and any password, clients that register themselves, and JWT access tokens for whatever resource is asked for.
//
// Arguments: the package's module; the scopes of resources, with blanks between; how many seconds access tokens live; and a port,
// if what is known as that port of 127.0.0.1 passes on to the same port of 127.0.0.2, where this then listens.

import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const [module, scopes, lifetime, port] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(module));

const server = createServer();
server.listen(Number(port ?? 0), port ? '127.0.0.2' : '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    scopes: ['openid', 'offline_access', 'profile', 'email'],
    claims: { openid: ['sub'], profile: ['name', 'preferred_username'], email: ['email'] },
    findAccount: (_ctx, sub) => ({
      accountId: sub,
      claims: () => ({ sub, name: sub, preferred_username: sub, email: `${sub}@provider.example` }),
    }),
    pkce: { required: () => true },
    rotateRefreshToken: true,
    ttl: { AccessToken: Number(lifetime), Grant: 3600, Interaction: 600, RefreshToken: 3600, Session: 3600 },
    features: {
      devInteractions: { enabled: true },
      registration: { enabled: true },
      registrationManagement: { enabled: true },
      revocation: { enabled: true },
      introspection: { enabled: true },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx, resource) => ({
          scope: scopes,
          audience: resource,
          accessTokenTTL: Number(lifetime),
          accessTokenFormat: 'jwt',
        }),
      },
    },
  });
  server.on('request', provider.callback());
  console.log(`listening on ${issuer}`);
});
