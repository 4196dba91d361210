// What people do with dockerode; it prints a line for each.
const { createRequire } = require('module');
const Docker = createRequire(process.argv[2] + '/')('dockerode');
const { PassThrough } = require('stream');

const image = 'debian:bookworm-slim';
const docker = new Docker({ socketPath: process.argv[3] });

function text(stream) {
  return new Promise((resolve, reject) => {
    let all = '';
    stream.on('data', (piece) => { all += piece; });
    stream.on('end', () => resolve(all));
    stream.on('error', reject);
  });
}

async function main() {
  console.log('ping', String(await docker.ping()));
  const out = new PassThrough();
  const said = text(out);
  const [ended, ran] = await docker.run(image, ['echo', 'hi'], out, { Tty: true });
  console.log('run', ended.StatusCode, JSON.stringify(await said));
  await ran.remove();

  const container = await docker.createContainer({ Image: image, name: 'js', Cmd: ['sleep', '300'], Env: ['A=b'] });
  await container.start();
  console.log('listed', (await docker.listContainers()).map((one) => one.Names[0] + ' ' + one.State).join());
  const exec = await container.exec({ Cmd: ['sh', '-c', 'echo $A'], AttachStdout: true, AttachStderr: true });
  const stream = await exec.start({});
  const both = new PassThrough();
  const output = text(both);
  docker.modem.demuxStream(stream, both, both);
  stream.on('end', () => both.end());
  console.log('exec', JSON.stringify(await output), (await exec.inspect()).ExitCode);
  await container.kill();
  console.log('ended', (await container.wait()).StatusCode);
  await container.remove();
  await docker.createContainer({ Image: image, HostConfig: { Privileged: true } })
    .catch((error) => console.log('refused', error.statusCode));
  console.log('left', (await docker.listContainers({ all: true })).length);
}

main().catch((error) => { console.error(error); process.exit(1); });
