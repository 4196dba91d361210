//! The voting example as its users meet it. One test, two variants.

use std::path::Path;

use anyhow::ensure;
use skep_browser_tests::{App, Browser, Driver, Variant};

#[tokio::test]
async fn the_classic_app_counts_one_vote_per_browser_and_shows_it_live() -> anyhow::Result<()> {
    votes_are_counted_live(Variant::Classic).await
}

#[tokio::test]
async fn the_serverless_app_counts_one_vote_per_browser_and_shows_it_live() -> anyhow::Result<()> {
    votes_are_counted_live(Variant::Serverless).await
}

async fn votes_are_counted_live(variant: Variant) -> anyhow::Result<()> {
    let app = App::start(variant).await?;
    let outcome = vote_and_look(&app, variant).await;
    if outcome.is_err() {
        eprintln!("skep serve said:\n{}", app.log());
    }
    outcome
}

async fn vote_and_look(app: &App, variant: Variant) -> anyhow::Result<()> {
    let driver = Driver::start().await?;
    let viewer = driver.browser("viewer").await?;
    let first = driver.browser("first").await?;
    let second = driver.browser("second").await?;

    // Nobody has voted. The mark would not survive a reload of the page.
    open_when_up(&viewer, &app.result, "[data-state=live]").await?;
    ensure!(viewer.text("#total").await? == "No votes yet");
    viewer.run("window.mark = 'never reloaded'").await?;
    open_when_up(&first, &app.vote, "button[value=tea]").await?;
    ensure!(
        first.count("[aria-pressed=true]").await? == 0,
        "a new browser has a choice already"
    );

    // A first vote, and a second browser's.
    vote(&first, "tea", "You voted for tea.").await?;
    shown(&viewer, 1, 0).await?;
    let cookie = voter(&first).await?;
    second.open(&app.vote).await?;
    ensure!(
        second.count("[aria-pressed=true]").await? == 0,
        "two browsers share a choice"
    );
    vote(&second, "coffee", "You voted for coffee.").await?;
    shown(&viewer, 1, 1).await?;
    ensure!(voter(&second).await? != cookie, "two browsers are one voter");

    // A change moves the vote; the voter stays the same.
    vote(&first, "coffee", "You changed your vote to coffee.").await?;
    shown(&viewer, 0, 2).await?;
    ensure!(
        voter(&first).await? == cookie,
        "a change of vote made a new voter"
    );

    // The same choice again counts nothing, nor does a reload, which does not
    // vote again but still knows the choice.
    vote(&first, "coffee", "You voted for coffee.").await?;
    first.reload().await?;
    first.see("button[value=coffee][aria-pressed=true]").await?;
    ensure!(first.text("[role=status]").await? == "You voted for coffee.");

    // Without its cookie, a browser is a new voter.
    second.forget_cookies().await?;
    second.open(&app.vote).await?;
    vote(&second, "tea", "You voted for tea.").await?;
    shown(&viewer, 1, 2).await?;
    ensure!(viewer.text("#total").await? == "3 votes so far");
    ensure!(viewer.run("return window.mark").await? == "never reloaded");

    pictures(&viewer, &format!("{}-result", variant.name())).await?;
    pictures(&first, &format!("{}-vote", variant.name())).await?;

    // The pages lead to each other.
    first.click("footer a").await?;
    first.see("[data-choice=tea][data-count='1']").await?;
    ensure!(first.address().await?.trim_end_matches('/') == app.result.trim_end_matches('/'));
    first.click("footer a").await?;
    first.see("button[value=coffee][aria-pressed=true]").await?;

    let mut complaints = Vec::new();
    for browser in [viewer, first, second] {
        complaints.extend(browser.close().await?);
    }
    ensure!(complaints.is_empty(), "pages complained: {complaints:#?}");
    Ok(())
}

/// Opens a page of an app that was deployed a moment ago, as often as it takes.
/// What the browser met before the app was up is no fault of its pages.
async fn open_when_up(browser: &Browser, url: &str, css: &str) -> anyhow::Result<()> {
    let up = async {
        loop {
            if browser.open(url).await.is_ok() && browser.count("main").await? == 1 {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), up).await??;
    browser.complaints().await?;
    browser.see(css).await
}

/// Votes, and waits for the page's answer.
async fn vote(browser: &Browser, choice: &str, answer: &str) -> anyhow::Result<()> {
    browser.click(&format!("button[value={choice}]")).await?;
    browser
        .see(&format!("button[value={choice}][aria-pressed=true]"))
        .await?;
    ensure!(browser.count("[aria-pressed=true]").await? == 1);
    let status = browser.text("[role=status]").await?;
    ensure!(
        status == answer,
        "voting for {choice} was answered with {status:?}"
    );
    Ok(())
}

/// Waits until the open result page shows these counts.
async fn shown(viewer: &Browser, tea: u32, coffee: u32) -> anyhow::Result<()> {
    viewer
        .see(&format!("[data-choice=tea][data-count='{tea}']"))
        .await?;
    viewer
        .see(&format!("[data-choice=coffee][data-count='{coffee}']"))
        .await
}

/// Who the browser is to the app. The cookie is for the server alone, and is
/// not sent along from other sites.
async fn voter(browser: &Browser) -> anyhow::Result<String> {
    let cookies = browser.cookies().await?;
    ensure!(cookies.len() == 1, "not one cookie: {cookies:?}");
    let cookie = &cookies[0];
    ensure!(
        cookie["httpOnly"] == true && cookie["sameSite"] == "Lax",
        "a loose cookie: {cookie}"
    );
    let (voter, _choice) = cookie["value"]
        .as_str()
        .unwrap_or_default()
        .split_once('.')
        .unwrap_or_default();
    ensure!(voter.len() == 32, "no voter in {cookie}");
    Ok(voter.to_owned())
}

/// Keeps pictures under target/, and holds that a phone needs no scrolling
/// sideways.
async fn pictures(browser: &Browser, name: &str) -> anyhow::Result<()> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("voting");
    browser.picture(&folder.join(format!("{name}.png"))).await?;
    browser.resize(390, 844).await?;
    let wider = browser
        .run("return document.documentElement.scrollWidth > innerWidth")
        .await?;
    ensure!(wider == false, "{name} is wider than a phone");
    browser.picture(&folder.join(format!("{name}-phone.png"))).await
}
